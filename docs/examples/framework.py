#!/usr/bin/env python3
"""A whole framework on the public v1 API: 20 tasks that finish, one that fails, one that is killed.

    python3 docs/examples/framework.py [HOST:PORT]          (default 127.0.0.1:5050)

Python's standard library only. It prints a table of its tasks and exits with 0 when all ended as they should."""

import http.client
import json
import sys
import time

MASTER = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:5050"
COMMANDS = {f"count-{n:02}": "echo $((6 * 7)); sleep 0.2" for n in range(1, 21)}
COMMANDS |= {"failing": "echo oh no >&2; exit 3", "endless": "sleep 1000"}
EXPECTED = {"failing": "TASK_FAILED", "endless": "TASK_KILLED"}
TERMINAL = {"TASK_FINISHED", "TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR", "TASK_DROPPED", "TASK_GONE"}


def post(call, stream_id=None):
    """Sends a call on a connection of its own; the answer and its connection."""
    connection = http.client.HTTPConnection(MASTER, timeout=60)
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if stream_id:
        headers["Mesos-Stream-Id"] = stream_id
    connection.request("POST", "/api/v1/scheduler", json.dumps(call), headers)
    answer = connection.getresponse()
    if answer.status not in (200, 202):
        sys.exit(f"{MASTER} answered {answer.status}: {answer.read().decode()}")
    return answer, connection


def events(stream):
    """The events of a RecordIO stream: a length, a newline, so many bytes."""
    while line := stream.readline():
        yield json.loads(stream.read(int(line)))


def task(name, agent_id):
    scalar = lambda name, value: {"name": name, "type": "SCALAR", "scalar": {"value": value}}
    return {
        "name": name, "task_id": {"value": name}, "agent_id": agent_id,
        "resources": [scalar("cpus", 0.1), scalar("mem", 32)], "command": {"value": COMMANDS[name]},
    }


def room(offer):
    """How many of our tasks fit into an offer."""
    has = {r["name"]: r["scalar"]["value"] for r in offer["resources"] if r["type"] == "SCALAR"}
    return int(min(has.get("cpus", 0) / 0.1 + 1e-6, has.get("mem", 0) / 32))


def main():
    info = {"user": "root", "name": "example", "roles": ["*"], "capabilities": [{"type": "MULTI_ROLE"}]}
    stream, _connection = post({"type": "SUBSCRIBE", "subscribe": {"framework_info": info}})
    stream_id, framework_id = stream.headers["Mesos-Stream-Id"], None
    waiting, seen, begun = list(COMMANDS), {}, {}

    def call(kind, **body):
        post({"framework_id": framework_id, "type": kind, **({kind.lower(): body} if body else {})}, stream_id)

    for event in events(stream):
        if event["type"] == "SUBSCRIBED":
            framework_id = event["subscribed"]["framework_id"]
        elif event["type"] == "ERROR":
            sys.exit(event["error"]["message"])
        elif event["type"] == "OFFERS":
            for offer in event["offers"]["offers"]:
                names = [waiting.pop(0) for _ in range(min(8, room(offer), len(waiting)))]
                begun.update({name: time.time() for name in names})
                launch = {"type": "LAUNCH", "launch": {"task_infos": [task(n, offer["agent_id"]) for n in names]}}
                call("ACCEPT", offer_ids=[offer["id"]], operations=[launch], filters={"refuse_seconds": 0.5})
        elif event["type"] == "UPDATE":
            status = event["update"]["status"]
            name, state = status["task_id"]["value"], status["state"]
            agent = status.get("agent_id", {}).get("value", "-")
            seen[name] = (state, agent, time.time() - begun[name], status.get("message", ""))
            if "uuid" in status:
                call("ACKNOWLEDGE", agent_id=status["agent_id"], task_id=status["task_id"], uuid=status["uuid"])
            if name == "endless" and state == "TASK_RUNNING":
                call("KILL", task_id=status["task_id"], agent_id=status["agent_id"])
            if len(seen) == len(COMMANDS) and all(row[0] in TERMINAL for row in seen.values()):
                break
    call("TEARDOWN")
    print(f"{'TASK':10} {'STATE':14} {'SECONDS':>7}  {'AGENT':44} MESSAGE")
    for name, (state, agent, seconds, message) in sorted(seen.items()):
        print(f"{name:10} {state:14} {seconds:7.2f}  {agent:44} {message}")
    wrong = [name for name, row in seen.items() if row[0] != EXPECTED.get(name, "TASK_FINISHED")]
    sys.exit(f"not as expected: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
