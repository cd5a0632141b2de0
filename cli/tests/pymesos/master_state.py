"""pymesos's operator driver: health, agents and frameworks of a master.

    master_state.py HOST:PORT

The last line is a JSON report."""

import json
import sys

from pymesos import MesosOperatorMasterDriver


def main():
    driver = MesosOperatorMasterDriver(sys.argv[1])
    print(json.dumps(dict(
        healthy=driver.getHealth()["get_health"]["healthy"],
        agents=len(driver.getAgents()["get_agents"].get("agents", [])),
        frameworks=len(driver.getFrameworks()["get_frameworks"].get("frameworks", [])))))


if __name__ == "__main__":
    main()
