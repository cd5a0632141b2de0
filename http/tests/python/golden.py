"""Writes golden/messages.txt: wire bytes by Google's protobuf, JSON by a writer of Mesos's rules that shares no code with ours.

How to run it: golden/README.md.
"""

import base64
import math
import pathlib
import random
import sys
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.descriptor import FieldDescriptor as F
from grpc_tools import protoc

TESTS = pathlib.Path(__file__).resolve().parent.parent
PROTO = TESTS.parent / "proto"


def load():
    files = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        wellknown = pathlib.Path(protoc.__file__).parent / "_proto"
        code = protoc.main(["protoc", f"-I{PROTO}", f"-I{wellknown}", "--include_imports", f"-o{out.name}", *files])
        assert code == 0, code
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(out.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    return pool


def is_map(field):
    return field.type == F.TYPE_MESSAGE and field.message_type.GetOptions().map_entry


def quoted(text):
    out = []
    short = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
    for letter in text:
        if letter in short:
            out.append(short[letter])
        elif 0x20 <= ord(letter) <= 0x7E:
            out.append(letter)
        else:
            units = letter.encode("utf-16-be")
            out += [f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2)]
    return '"' + "".join(out) + '"'


def number(value):
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    mantissa, _, exponent = repr(value).partition("e")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def one(field, value):
    if field.type == F.TYPE_MESSAGE:
        return json(value)
    if field.type == F.TYPE_ENUM:
        return quoted(field.enum_type.values_by_number[value].name)
    if field.type == F.TYPE_BYTES:
        return quoted(base64.b64encode(value).decode())
    if field.type == F.TYPE_STRING:
        return quoted(value)
    if field.type == F.TYPE_BOOL:
        return "true" if value else "false"
    if field.type == F.TYPE_DOUBLE:
        return number(value)
    return str(value)


def json(message):
    """Mesos's JSON of a message."""
    parts = []
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if is_map(field):
            inner = field.message_type.fields_by_name["value"]
            # In the order of the wire bytes: `deterministic` sorts keys, none of which begins with another here.
            if value:
                pairs = (f"{quoted(key)}:{one(inner, value[key])}" for key in sorted(value, key=lambda key: key.encode()))
                parts.append(f"{quoted(field.name)}:{{{','.join(pairs)}}}")
        elif field.is_repeated:
            if value:
                parts.append(f"{quoted(field.name)}:[{','.join(one(field, item) for item in value)}]")
        elif (message.HasField(field.name) if field.has_presence else value) or (
            not field.is_required and field.has_default_value and not field.GetOptions().deprecated
        ):
            parts.append(f"{quoted(field.name)}:{one(field, value)}")
    return "{" + ",".join(parts) + "}"


class Maker:
    """Random complete messages."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.budget = 0

    def scalar(self, field):
        pick = self.random
        if field.type == F.TYPE_DOUBLE:
            return pick.choice([0.0, 0.5, 1.0, 1024.0, 0.001, 1e21, 1700000000.123456, -2.25, 1e-7])
        if field.type == F.TYPE_BOOL:
            return pick.random() < 0.5
        if field.type == F.TYPE_STRING:
            return pick.choice(["", "web", "/eng/web", 'say "hi"\\', "line\nend\r\t", "\x00\x7f", "\u00e9\u2028", "\U0001f600"])
        if field.type == F.TYPE_BYTES:
            return pick.randbytes(pick.randrange(6))
        if field.type == F.TYPE_ENUM:
            return pick.choice(field.enum_type.values).number
        low, high = {
            F.TYPE_INT32: (-(2**31), 2**31 - 1),
            F.TYPE_INT64: (-(2**63), 2**63 - 1),
            F.TYPE_UINT32: (0, 2**32 - 1),
            F.TYPE_UINT64: (0, 2**64 - 1),
        }[field.type]
        return pick.choice([low, high, 0, 1, 31000, pick.randint(low, high)])

    def fill(self, message, depth=0):
        for field in message.DESCRIPTOR.fields:
            is_message = field.type == F.TYPE_MESSAGE
            if not field.is_required:
                self.budget -= 1
                taken = field.containing_oneof and message.WhichOneof(field.containing_oneof.name)
                stops = self.budget < 0 or (is_message and depth > 5)
                if taken or stops or self.random.random() < 0.45:
                    continue
            if is_map(field):
                inner = field.message_type.fields_by_name["value"]
                for key in self.random.sample(["cpus", "mem", "\u00e9"], 2):
                    if inner.type == F.TYPE_MESSAGE:
                        self.fill(getattr(message, field.name)[key], depth + 1)
                    else:
                        getattr(message, field.name)[key] = self.scalar(inner)
            elif field.is_repeated:
                for _ in range(self.random.randrange(1, 3)):
                    if is_message:
                        self.fill(getattr(message, field.name).add(), depth + 1)
                    else:
                        getattr(message, field.name).append(self.scalar(field))
            elif is_message:
                getattr(message, field.name).SetInParent()
                self.fill(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self.scalar(field))
        return message

    def make(self, kind):
        self.budget = 70
        return self.fill(kind())


# Conversations as real clients have them, and the corners of the mapping: name, type, text format.
TOLD = [
    ("subscribe", "scheduler.Call", """type: SUBSCRIBE subscribe { framework_info {
        user: "root" name: "spark" roles: "analytics" capabilities { type: MULTI_ROLE } capabilities { type: GPU_RESOURCES }
        failover_timeout: 3600 offer_filters { key: "analytics" value { min_allocatable_resources {
        quantities { quantities { key: "cpus" value { value: 0.1 } } quantities { key: "mem" value { value: 32 } } } } } } }
        suppressed_roles: "batch" offer_constraints { role_constraints { key: "analytics" value { groups {
        attribute_constraints { selector { pseudoattribute_type: HOSTNAME } predicate { text_matches { regex: "^n[0-9]+$" } } }
        attribute_constraints { selector { attribute_name: "rack" } predicate { not_exists {} } } } } } } }"""),
    ("accept", "scheduler.Call", """framework_id { value: "f-1" } type: ACCEPT accept { offer_ids { value: "o-1" }
        operations { type: LAUNCH launch { task_infos { name: "sleep" task_id { value: "t-1" } agent_id { value: "a-1" }
        resources { name: "cpus" type: SCALAR scalar { value: 0.1 } } resources { name: "ports" type: RANGES
        ranges { range { begin: 31000 end: 31000 } } } command { value: "sleep 100" environment { variables { name: "A" value: "b" } }
        uris { value: "http://x/y.tgz" } } data: "\\000\\001\\377" limits { key: "cpus" value { value: inf } }
        limits { key: "mem" value { value: 0 } } } } } filters { refuse_seconds: 5 } }"""),
    ("offers", "scheduler.Event", """type: OFFERS offers { offers { id { value: "o-1" } framework_id { value: "f-1" }
        agent_id { value: "a-1" } hostname: "n1" url { scheme: "http" address { hostname: "n1" ip: "10.0.0.1" port: 5051 }
        path: "/slave(1)" } resources { name: "cpus" type: SCALAR scalar { value: 8 } role: "*" allocation_info { role: "web" } }
        resources { name: "disks" type: SET set { item: "sda" item: "sdb" } } attributes { name: "rack" type: TEXT text { value: "r1" } }
        allocation_info { role: "web" } domain { fault_domain { region { name: "eu" } zone { name: "a" } } } } }"""),
    ("update", "scheduler.Event", """type: UPDATE update { status { task_id { value: "t-1" } state: TASK_RUNNING
        source: SOURCE_EXECUTOR timestamp: 1700000000.5 uuid: "0123456789abcdef" healthy: true container_status { network_infos {
        ip_addresses { ip_address: "10.0.0.1" } } executor_pid: 4294967295 } } }"""),
    ("heartbeat", "scheduler.Event", "type: HEARTBEAT"),
    ("empty_event", "scheduler.Event", ""),
    ("not_a_number", "mesos.Metric", 'name: "x" value: nan'),
    ("minus_infinity", "mesos.Value.Scalar", "value: -inf"),
    ("minus_zero", "mesos.Value.Scalar", "value: -0.0"),
    ("extremes", "mesos.Address", "port: -2147483648"),
    ("extremes_64", "mesos.TimeInfo", "nanoseconds: -9223372036854775808"),
    ("extremes_unsigned", "mesos.Value.Range", "begin: 0 end: 18446744073709551615"),
    ("defaults", "mesos.HealthCheck", ""),
    ("defaults_deprecated", "mesos.Resource", 'name: "cpus" type: SCALAR'),
    ("defaults_inside", "mesos.ContainerInfo", 'type: DOCKER docker { image: "alpine" } linux_info {} network_infos { ip_addresses {} }'),
    ("default_required", "mesos.MasterInfo", 'id: "m" ip: 16777343 port: 5050'),
    ("default_text", "mesos.CSIPluginInfo", 'type: "org.x"'),
    ("nested_container", "mesos.ContainerID", 'value: "c" parent { value: "b" parent { value: "a" } }'),
    ("drain", "master.Call", 'type: DRAIN_AGENT drain_agent { agent_id { value: "a" } max_grace_period { seconds: 10 nanos: 5 } }'),
    ("quota_zero", "quota.QuotaConfig", """role: "dev" limits { key: "cpus" value { value: 0 } } guarantees { key: "" value { value: 1 } }"""),
    ("attach", "agent.ProcessIO", 'type: DATA data { type: STDOUT data: "\\377\\376" }'),
    ("capabilities", "mesos.CapabilityInfo", "capabilities: NET_RAW capabilities: BPF"),
]

ROOTS = """scheduler.Call scheduler.Event scheduler.APIResult executor.Call executor.Event master.Call master.Response
    master.Event agent.Call agent.Response agent.ProcessIO resource_provider.Call resource_provider.Event maintenance.Schedule
    maintenance.ClusterStatus quota.QuotaRequest quota.QuotaStatus mesos.Value mesos.MachineInfo mesos.ResourceUsage mesos.Credentials
    mesos.RateLimits mesos.DeviceWhitelist mesos.CSIPluginInfo""".split()


def main():
    pool = load()
    full = lambda short: "mesos.v1." + short.removeprefix("mesos.")
    kind = lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))
    blocks = []

    def add(name, message):
        assert message.IsInitialized(), name
        wire = message.SerializeToString(deterministic=True)
        blocks.append(f"# {name} {message.DESCRIPTOR.full_name}\n{wire.hex() or '-'}\n{json(message)}\n")

    for name, short, text in TOLD:
        add(name, text_format.Parse(text, kind(full(short))()))
    maker = Maker(1)
    for short in ROOTS:
        for round in (1, 2):
            add(f"random_{round}", maker.make(kind(full(short))))
    (TESTS / "golden" / "messages.txt").write_text("\n".join(blocks), encoding="ascii")
    print(len(blocks), "messages")


if __name__ == "__main__":
    sys.exit(main())
