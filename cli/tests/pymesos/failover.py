"""A pymesos framework in two lives: the first leaves a task behind, the second comes back with its id and ends it.

    failover.py HOST:PORT first
    failover.py HOST:PORT second FRAMEWORK_ID

The last line is a JSON report."""

import getpass
import json
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler

DEADLINE = 60


class Life(Scheduler):
    def __init__(self, launches):
        self.launches = launches
        self.framework_id, self.reregistered_too, self.states = None, False, []
        self.changed = threading.Condition()

    def registered(self, driver, framework_id, master_info):
        self.note(lambda: setattr(self, "framework_id", framework_id["value"]))

    def reregistered(self, driver, master_info):
        def note():
            self.framework_id, self.reregistered_too = driver.framework_id, True
        self.note(note)

    def resourceOffers(self, driver, offers):
        for offer in offers:
            if not self.launches:
                driver.declineOffer(offer["id"])
                continue
            self.launches = False
            resources = [dict(name="cpus", type="SCALAR", scalar=dict(value=0.1)),
                         dict(name="mem", type="SCALAR", scalar=dict(value=16))]
            driver.launchTasks(offer["id"], [dict(name="kept", task_id=dict(value="kept"), agent_id=offer["agent_id"],
                                                  resources=resources, command=dict(value="exec sleep 86405.5"))])

    def statusUpdate(self, driver, status):
        self.note(lambda: self.states.append(status["state"]))

    def note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def wait(self, what, done):
        with self.changed:
            if not self.changed.wait_for(done, DEADLINE):
                sys.exit("waited for: %s; %s" % (what, self.states))


def main():
    address, life = sys.argv[1], sys.argv[2]
    framework = dict(user=getpass.getuser(), name="two lives", checkpoint=True, failover_timeout=60)
    if life == "second":
        framework["id"] = dict(value=sys.argv[3])
    scheduler = Life(launches=life == "first")
    driver = MesosSchedulerDriver(scheduler, framework, address)
    driver.start()
    scheduler.wait("a subscription", lambda: scheduler.framework_id)
    report = dict(framework_id=scheduler.framework_id, reregistered=scheduler.reregistered_too)
    if life == "first":
        scheduler.wait("the task", lambda: "TASK_RUNNING" in scheduler.states)
    else:
        driver.reconcileTasks([])
        scheduler.wait("an answer", lambda: scheduler.states)
        report["found"] = scheduler.states[-1]
        driver.killTask(dict(value="kept"))
        scheduler.wait("the end", lambda: "TASK_KILLED" in scheduler.states)
        report["ended"] = scheduler.states[-1]
    # With failover the driver leaves without TEARDOWN.
    driver.stop(failover=life == "first")
    driver.join()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
