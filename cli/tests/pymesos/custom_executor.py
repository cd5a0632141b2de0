"""The executor of `custom.py`: runs its tasks as threads that wait, answers messages backwards, and obeys a few words."""

import json
import os
import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class Own(Executor):
    def registered(self, driver, executor_info, framework_info, agent_info):
        assert decode_data(executor_info["data"]) == b"\x00executor\xff", executor_info
        assert framework_info["id"]["value"] == os.environ["MESOS_FRAMEWORK_ID"]
        assert agent_info["id"]["value"] == os.environ["MESOS_SLAVE_ID"]
        self.ends, self.times = {}, 1

    def reregistered(self, driver, agent_info):
        self.times += 1

    def launchTask(self, driver, task):
        name = task["task_id"]["value"]
        assert decode_data(task["data"]).decode() == name, task
        end = self.ends[name] = threading.Event()
        end.state = "TASK_FINISHED"
        if name == "quick":
            end.set()
        threading.Thread(target=self.run, args=(driver, name, end), daemon=True).start()

    def run(self, driver, name, end):
        told = dict(pid=os.getpid(), times=self.times, directory=os.getcwd() == os.environ["MESOS_SANDBOX"],
                    checkpoint=os.environ["MESOS_CHECKPOINT"], recovery=os.environ["MESOS_RECOVERY_TIMEOUT"],
                    pid_text=os.environ["MESOS_SLAVE_PID"] == "slave(1)@" + os.environ["MESOS_AGENT_ENDPOINT"],
                    token="MESOS_EXECUTOR_AUTHENTICATION_TOKEN" in os.environ,
                    private=[name for name in os.environ if name.startswith("KAON_EXECUTOR")])
        self.say(driver, dict(task_id=dict(value=name), state="TASK_RUNNING",
                              data=encode_data(json.dumps(told).encode())))
        end.wait()
        self.say(driver, dict(task_id=dict(value=name), state=end.state))

    def say(self, driver, status):
        """Tells a state until the agent has taken it. The driver keeps no updates: while its agent is away, or goes away
        before it has answered, it raises; the uuid that it has put into the status makes a second telling harmless."""
        while True:
            try:
                return driver.sendStatusUpdate(status)
            except Exception as error:  # RuntimeError, OSError, HTTPException, or a driver that lost its connection
                print("told again:", status["state"], repr(error), file=sys.stderr)
                time.sleep(0.2)

    def finish(self, name, state):
        self.ends[name].state = state
        self.ends[name].set()

    def killTask(self, driver, task_id):
        self.finish(task_id["value"], "TASK_KILLED")

    def frameworkMessage(self, driver, message):
        text = decode_data(message).decode()
        if text.startswith("fail "):
            self.finish(text[5:], "TASK_FAILED")
        elif text == "leave":
            os._exit(7)
        else:
            driver.sendFrameworkMessage(encode_data(text[::-1].encode()))

    def error(self, driver, message):
        print("error:", message, file=sys.stderr)


if __name__ == "__main__":
    MesosExecutorDriver(Own()).run()
