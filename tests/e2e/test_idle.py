"""An idle server sleeps: nothing in it polls.  (Not under the sanitizers: ThreadSanitizer has a thread that does.)"""
import glob
import time

from haltless import SLOW, Pusher, Tenant, reading

WINDOW_S, WINDOWS = 4, 4
WAKES_PER_S, CORE = 20, 0.005


def tasks(server):
    """{(process, thread, name): (times it slept, ns on a core)} of every thread of the server."""
    seen = {}
    for pid in [server.process.pid, *server.pids()]:
        for task in glob.glob(f"/proc/{pid}/task/*"):
            try:
                with open(task + "/status") as status, open(task + "/schedstat") as stat, open(task + "/comm") as comm:
                    slept = next(int(line.split()[1]) for line in status if line.startswith("voluntary"))
                    seen[pid, task, comm.read().strip()] = (slept, int(stat.read().split()[0]))
            except FileNotFoundError:           # ended meanwhile
                pass
    return seen


def test_an_idle_server_sleeps(own_server):
    server = own_server()
    tenant = Tenant(server)
    tenant.machine("M")
    pusher = Pusher(server, tenant.key()["key"])
    for i in range(20):
        assert pusher.push([reading("M", value=i)]).status_code == 207
    told = []
    for _ in range(WINDOWS):                    # work that the pushes left behind may run in the first
        before = tasks(server)
        time.sleep(WINDOW_S)
        after = tasks(server)
        wakes = {k[2] + "@" + k[1].split("/")[2]: (after[k][0] - before[k][0]) / WINDOW_S for k in after if k in before}
        core = sum(after[k][1] - before[k][1] for k in after if k in before) / 1e9 / WINDOW_S
        told.append((sum(wakes.values()), core, sorted(wakes.items(), key=lambda w: -w[1])[:8]))
        if sum(wakes.values()) < WAKES_PER_S and core < CORE * SLOW:
            break
    assert told[-1][0] < WAKES_PER_S and told[-1][1] < CORE * SLOW, told
    assert server.metric_sum("haltless_bells_missed_total") == 0
