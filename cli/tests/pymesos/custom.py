"""A pymesos framework with an executor of its own (`custom_executor.py`): several tasks on one executor, messages both
ways, a kill, a task that the executor itself ends, and the end of the executor.

    custom.py HOST:PORT [AGENT_PID]

With the process id of the agent it is killed while a task runs; whoever watches it starts it again, and the executor is
expected to come back to it with the task. The last line is a JSON report."""

import getpass
import json
import os
import signal
import sys
import threading

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

DEADLINE = 90
EXECUTOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "custom_executor.py")
TASKS = ["quick", "held", "asked"]


class Custom(Scheduler):
    def __init__(self):
        self.states = {name: [] for name in TASKS + ["late"]}
        self.processes, self.data = set(), {}
        self.answers, self.lost = [], []
        self.waiting = list(TASKS)
        self.agent = None
        self.changed = threading.Condition()

    def resourceOffers(self, driver, offers):
        for offer in offers:
            names, self.waiting = self.waiting, []
            if self.agent not in (None, offer["agent_id"]["value"]) or not names:
                self.waiting = names
                driver.declineOffer(offer["id"], dict(refuse_seconds=0.2))
                continue
            self.agent = offer["agent_id"]["value"]
            driver.launchTasks(offer["id"], [self.task(name, offer["agent_id"]) for name in names],
                               dict(refuse_seconds=0.2))

    def task(self, name, agent_id):
        def scalar(kind, value):
            return dict(name=kind, type="SCALAR", scalar=dict(value=value))
        executor = dict(executor_id=dict(value="own"), name="own", data=encode_data(b"\x00executor\xff"),
                        command=dict(value="exec %s -u %s" % (sys.executable, EXECUTOR)),
                        resources=[scalar("cpus", 0.1), scalar("mem", 64)])
        return dict(name=name, task_id=dict(value=name), agent_id=agent_id, executor=executor,
                    data=encode_data(name.encode()), resources=[scalar("cpus", 0.1), scalar("mem", 16)])

    def statusUpdate(self, driver, status):
        def note():
            name = status["task_id"]["value"]
            if status["state"] == "TASK_LOST" and name == "late":
                # Launched out of an offer that the agent's end made void.
                self.waiting.append(name)
                return
            self.states[name].append(status["state"])
            if status.get("data"):
                told = json.loads(decode_data(status["data"]))
                self.processes.add(told["pid"])
                self.data[name] = told
            assert status["executor_id"]["value"] == "own", status
        self.note(note)

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        assert executor_id["value"] == "own" and agent_id["value"] == self.agent
        self.note(lambda: self.answers.append(decode_data(message).decode()))

    def executorLost(self, driver, executor_id, agent_id, status):
        self.note(lambda: self.lost.append([executor_id["value"], status]))

    def note(self, change):
        with self.changed:
            change()
            self.changed.notify_all()

    def wait(self, what, done):
        with self.changed:
            if not self.changed.wait_for(done, DEADLINE):
                sys.exit("waited for: %s; %s" % (what, vars(self)))

    def tell(self, driver, text):
        driver.sendFrameworkMessage(dict(value="own"), dict(value=self.agent), encode_data(text.encode()))


def main():
    own = Custom()
    framework = dict(user=getpass.getuser(), name="own executor", checkpoint=True, failover_timeout=60)
    driver = MesosSchedulerDriver(own, framework, sys.argv[1])
    driver.start()
    own.wait("the tasks", lambda: all("TASK_RUNNING" in own.states[name] for name in TASKS))
    own.wait("the quick one", lambda: "TASK_FINISHED" in own.states["quick"])
    own.tell(driver, "hello")
    own.wait("an echo", lambda: "olleh" in own.answers)
    driver.killTask(dict(value="held"))
    own.wait("the kill", lambda: "TASK_KILLED" in own.states["held"])
    if len(sys.argv) > 2:
        os.kill(int(sys.argv[2]), signal.SIGKILL)
    own.note(lambda: own.waiting.append("late"))
    own.wait("a task after the others", lambda: "TASK_RUNNING" in own.states["late"])
    if len(sys.argv) > 2:
        # What went out while the agent was away is lost; nobody promises messages.
        while "tsrif" not in own.answers:
            own.tell(driver, "first")
            with own.changed:
                own.changed.wait(0.5)
    own.tell(driver, "fail asked")
    own.wait("its end", lambda: "TASK_FAILED" in own.states["asked"])
    own.tell(driver, "leave")
    own.wait("the executor's end", lambda: own.lost and "TASK_FAILED" in own.states["late"])
    driver.stop()
    driver.join()
    print(json.dumps(dict(states=own.states, processes=len(own.processes), data=own.data, lost=own.lost)))


if __name__ == "__main__":
    main()
