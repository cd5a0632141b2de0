"""A pymesos scheduler: 100 tasks at once, one that fails, one that is killed, reconciliation of both kinds.

    tasks.py HOST:PORT

Its last line is a JSON report. The hundred wait for a file, so that all of them run at the same time."""

import collections
import getpass
import json
import os
import shutil
import sys
import tempfile
import threading

from pymesos import MesosSchedulerDriver, Scheduler

DEADLINE = 120
HUNDRED = ["many-%03d" % n for n in range(100)]


class Tasks(Scheduler):
    def __init__(self, gate):
        self.commands = {name: "until [ -e %s ]; do sleep 0.1; done" % gate for name in HUNDRED}
        self.commands["failing"] = "exit 3"
        self.commands["killed"] = "exec sleep 86400.5"
        self.commands["steady"] = "exec sleep 86400.5"
        self.waiting = list(self.commands)
        self.history = collections.defaultdict(list)
        self.reconciled = {}
        self.changed = threading.Condition()
        self.failure = None

    def registered(self, driver, framework_id, master_info):
        assert framework_id["value"] and master_info["port"], (framework_id, master_info)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            has = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if r["type"] == "SCALAR"}
            room = int(min(has.get("cpus", 0) / 0.1 + 1e-6, has.get("mem", 0) / 16))
            names, self.waiting = self.waiting[:room], self.waiting[room:]
            tasks = [self.task(name, offer["agent_id"]) for name in names]
            driver.launchTasks(offer["id"], tasks, dict(refuse_seconds=0.5))

    def task(self, name, agent_id):
        amounts = {"cpus": 0.1, "mem": 16}
        scalar = lambda key: dict(name=key, type="SCALAR", scalar=dict(value=amounts[key]))
        return dict(name=name, task_id=dict(value=name), agent_id=agent_id,
                    resources=[scalar("cpus"), scalar("mem")], command=dict(value=self.commands[name]))

    def statusUpdate(self, driver, status):
        name, state = status["task_id"]["value"], status["state"]
        with self.changed:
            if status.get("reason") == "REASON_RECONCILIATION":
                assert "uuid" not in status, status
                self.reconciled[name] = state
            else:
                self.history[name].append(state)
            self.changed.notify_all()

    def error(self, driver, message):
        with self.changed:
            self.failure = message
            self.changed.notify_all()

    def latest(self, name):
        return self.history[name][-1] if self.history[name] else None

    def wait(self, what, done):
        with self.changed:
            if not self.changed.wait_for(lambda: self.failure or done(), DEADLINE) or self.failure:
                sys.exit("waited for: %s; %s; %s" % (what, self.failure, dict(self.history)))


def main():
    place = tempfile.mkdtemp(prefix="kaon-pymesos-")
    os.chmod(place, 0o755)
    gate = os.path.join(place, "gate")
    scheduler = Tasks(gate)
    framework = dict(user=getpass.getuser(), name="pymesos", checkpoint=True)
    driver = MesosSchedulerDriver(scheduler, framework, sys.argv[1])
    driver.start()
    latest = scheduler.latest
    try:
        scheduler.wait("a hundred running", lambda: all(latest(name) == "TASK_RUNNING" for name in HUNDRED))
        at_once = sum(latest(name) == "TASK_RUNNING" for name in HUNDRED)
        scheduler.wait("one failed", lambda: latest("failing") == "TASK_FAILED")
        scheduler.wait("one to kill", lambda: latest("killed") == "TASK_RUNNING")
        driver.killTask(dict(value="killed"))
        scheduler.wait("one killed", lambda: latest("killed") == "TASK_KILLED")
        open(gate, "w").close()
        scheduler.wait("a hundred finished", lambda: all(latest(name) == "TASK_FINISHED" for name in HUNDRED))
        scheduler.wait("one steady", lambda: latest("steady") == "TASK_RUNNING")
        driver.reconcileTasks([dict(task_id=dict(value="steady")), dict(task_id=dict(value="ghost"))])
        scheduler.wait("explicit answers", lambda: len(scheduler.reconciled) == 2)
        explicit, scheduler.reconciled = scheduler.reconciled, {}
        driver.reconcileTasks([])
        scheduler.wait("an implicit answer", lambda: "steady" in scheduler.reconciled)
        implicit = sorted(scheduler.reconciled)
    finally:
        driver.stop()
        driver.join()
        shutil.rmtree(place)
    states = collections.Counter(latest(name) for name in HUNDRED)
    duplicates = sum(len(states) - len(set(states)) for states in scheduler.history.values())
    print(json.dumps(dict(states=states, at_once=at_once, failing=latest("failing"), killed=latest("killed"),
                          explicit=explicit, implicit=implicit, duplicates=duplicates)))


if __name__ == "__main__":
    main()
