// A scheduler and an executor on mesos-rxjava 0.1.2, the published v1 client for Java; protobuf, messages of Mesos 1.0.
//
//   Framework scheduler MASTER_URI COMMANDS TASKS EXECUTOR_COMMAND
//   Framework executor
//
// The scheduler runs COMMANDS commands, then TASKS tasks on executors of its own, one on each agent that is offered. To the
// executor of each task it sends a message, which comes back. It ends with 0 when all have finished and all came back.

import com.google.protobuf.ByteString;
import com.mesosphere.mesos.rx.java.SinkOperation;
import com.mesosphere.mesos.rx.java.SinkOperations;
import com.mesosphere.mesos.rx.java.protobuf.ProtobufMesosClientBuilder;
import com.mesosphere.mesos.rx.java.protobuf.SchedulerCalls;
import com.mesosphere.mesos.rx.java.util.UserAgentEntries;
import java.net.URI;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.apache.mesos.v1.Protos.*;
import org.apache.mesos.v1.executor.Protos.Call.Type;
import org.apache.mesos.v1.scheduler.Protos.Call;
import org.apache.mesos.v1.scheduler.Protos.Event;
import rx.Observable;

public final class Framework {
    public static void main(String[] arguments) throws Throwable {
        if (arguments[0].equals("executor")) {
            new Executor().run();
        } else {
            int commands = Integer.parseInt(arguments[2]), tasks = Integer.parseInt(arguments[3]);
            new Scheduler(commands, tasks, arguments[4]).run(arguments[1]);
        }
    }

    static Resource scalar(String name, double value) {
        return Resource.newBuilder().setName(name).setType(Value.Type.SCALAR)
            .setScalar(Value.Scalar.newBuilder().setValue(value)).build();
    }

    static final class Scheduler {
        static final double CPUS = 0.1, MEM = 32;
        final String executorCommand;
        final int commands, total;
        final Set<String> finished = new HashSet<>(), answered = new HashSet<>();
        int launched;
        FrameworkID id;

        Scheduler(int commands, int tasks, String executorCommand) {
            this.commands = commands;
            this.total = commands + tasks;
            this.executorCommand = executorCommand;
        }

        void run(String master) throws Throwable {
            var info = FrameworkInfo.newBuilder().setUser(System.getProperty("user.name")).setName("java")
                .setCheckpoint(true);
            var subscribe = Call.newBuilder().setType(Call.Type.SUBSCRIBE)
                .setSubscribe(Call.Subscribe.newBuilder().setFrameworkInfo(info)).build();
            ProtobufMesosClientBuilder.schedulerUsingProtos()
                .mesosUri(URI.create(master))
                .applicationUserAgentEntry(UserAgentEntries.literal("java", "1"))
                .subscribe(subscribe)
                .processStream(events -> events.concatMap(event -> Observable.from(on(event))).map(Optional::of))
                .build().openStream().await();
        }

        List<SinkOperation<Call>> on(Event event) {
            var calls = new ArrayList<SinkOperation<Call>>();
            switch (event.getType()) {
                case SUBSCRIBED -> id = event.getSubscribed().getFrameworkId();
                case OFFERS -> event.getOffers().getOffersList().forEach(offer -> calls.add(accept(offer)));
                case UPDATE -> update(event.getUpdate().getStatus(), calls);
                case MESSAGE -> answered.add(event.getMessage().getData().toStringUtf8());
                case ERROR -> {
                    System.err.println("ERROR: " + event.getError().getMessage());
                    System.exit(1);
                }
                default -> { }
            }
            if (finished.size() == total && answered.size() == total - commands) {
                System.out.println("all " + total + " finished");
                calls.add(SinkOperations.create(call(Call.Type.TEARDOWN).build(), () -> System.exit(0)));
            }
            return calls;
        }

        Call.Builder call(Call.Type type) {
            return Call.newBuilder().setFrameworkId(id).setType(type);
        }

        SinkOperation<Call> accept(Offer offer) {
            var launch = Offer.Operation.Launch.newBuilder();
            double cpus = amount(offer, "cpus"), mem = amount(offer, "mem");
            while (launched < total && cpus >= 3 * CPUS && mem >= 3 * MEM) {
                launch.addTaskInfos(task(offer, launched++));
                cpus -= 2 * CPUS;
                mem -= 2 * MEM;
            }
            if (launch.getTaskInfosCount() == 0) {
                return SinkOperations.create(SchedulerCalls.decline(id, Arrays.asList(offer.getId())));
            }
            var operation = Offer.Operation.newBuilder().setType(Offer.Operation.Type.LAUNCH).setLaunch(launch);
            var accept = Call.Accept.newBuilder().addOfferIds(offer.getId()).addOperations(operation)
                .setFilters(Filters.newBuilder().setRefuseSeconds(0.2));
            return SinkOperations.create(call(Call.Type.ACCEPT).setAccept(accept).build());
        }

        static double amount(Offer offer, String name) {
            return offer.getResourcesList().stream().filter(one -> one.getName().equals(name))
                .mapToDouble(one -> one.getScalar().getValue()).sum();
        }

        TaskInfo task(Offer offer, int number) {
            var task = TaskInfo.newBuilder().setName("task " + number).setAgentId(offer.getAgentId())
                .setTaskId(TaskID.newBuilder().setValue("task-" + number))
                .addResources(scalar("cpus", CPUS)).addResources(scalar("mem", MEM));
            if (number < commands) {
                return task.setCommand(CommandInfo.newBuilder().setValue("exit 0")).build();
            }
            var executor = ExecutorInfo.newBuilder().setFrameworkId(id).setName("java")
                .setExecutorId(ExecutorID.newBuilder().setValue("java"))
                .setCommand(CommandInfo.newBuilder().setValue(executorCommand))
                .addResources(scalar("cpus", CPUS)).addResources(scalar("mem", MEM));
            return task.setExecutor(executor).setData(ByteString.copyFromUtf8("data of " + number)).build();
        }

        void update(TaskStatus status, List<SinkOperation<Call>> calls) {
            String task = status.getTaskId().getValue();
            System.out.println(task + " " + status.getState());
            if (status.hasUuid()) {
                calls.add(SinkOperations.create(
                    SchedulerCalls.ackUpdate(id, status.getUuid(), status.getAgentId(), status.getTaskId())));
            }
            boolean isOwn = Integer.parseInt(task.substring("task-".length())) >= commands;
            switch (status.getState()) {
                case TASK_RUNNING -> {
                    if (isOwn) {
                        var message = Call.Message.newBuilder().setAgentId(status.getAgentId())
                            .setExecutorId(status.getExecutorId()).setData(ByteString.copyFromUtf8(task));
                        calls.add(SinkOperations.create(call(Call.Type.MESSAGE).setMessage(message).build()));
                    }
                }
                case TASK_FINISHED -> finished.add(task);
                case TASK_STAGING, TASK_STARTING -> { }
                default -> {
                    System.err.println(task + ": " + status);
                    System.exit(1);
                }
            }
        }
    }

    // Says that a task runs; when its scheduler sends the name of the task, sends it back and says that it has finished.
    static final class Executor {
        final FrameworkID framework = FrameworkID.newBuilder().setValue(System.getenv("MESOS_FRAMEWORK_ID")).build();
        final ExecutorID executor = ExecutorID.newBuilder().setValue(System.getenv("MESOS_EXECUTOR_ID")).build();

        void run() throws Throwable {
            var subscribe = org.apache.mesos.v1.executor.Protos.Call.Subscribe.newBuilder();
            ProtobufMesosClientBuilder.executorUsingProtos()
                .mesosUri(URI.create("http://" + System.getenv("MESOS_AGENT_ENDPOINT") + "/api/v1/executor"))
                .applicationUserAgentEntry(UserAgentEntries.literal("java", "1"))
                .subscribe(call(Type.SUBSCRIBE).setSubscribe(subscribe).build())
                .processStream(events -> events.concatMap(event -> Observable.from(on(event))).map(Optional::of))
                .build().openStream().await();
        }

        org.apache.mesos.v1.executor.Protos.Call.Builder call(Type type) {
            return org.apache.mesos.v1.executor.Protos.Call.newBuilder().setType(type)
                .setFrameworkId(framework).setExecutorId(executor);
        }

        List<SinkOperation<org.apache.mesos.v1.executor.Protos.Call>> on(
            org.apache.mesos.v1.executor.Protos.Event event
        ) {
            var calls = new ArrayList<SinkOperation<org.apache.mesos.v1.executor.Protos.Call>>();
            switch (event.getType()) {
                case LAUNCH -> {
                    TaskInfo task = event.getLaunch().getTask();
                    boolean isWhole = task.getData().toStringUtf8().equals("data of " + task.getName().split(" ")[1]);
                    calls.add(status(task.getTaskId(), isWhole ? TaskState.TASK_RUNNING : TaskState.TASK_FAILED));
                }
                case MESSAGE -> {
                    ByteString data = event.getMessage().getData();
                    var message = org.apache.mesos.v1.executor.Protos.Call.Message.newBuilder().setData(data);
                    calls.add(SinkOperations.create(call(Type.MESSAGE).setMessage(message).build()));
                    calls.add(status(TaskID.newBuilder().setValue(data.toStringUtf8()).build(), TaskState.TASK_FINISHED));
                }
                case SHUTDOWN -> System.exit(0);
                default -> { }
            }
            return calls;
        }

        SinkOperation<org.apache.mesos.v1.executor.Protos.Call> status(TaskID task, TaskState state) {
            UUID uuid = UUID.randomUUID();
            byte[] bytes = ByteBuffer.allocate(16).putLong(uuid.getMostSignificantBits())
                .putLong(uuid.getLeastSignificantBits()).array();
            var status = TaskStatus.newBuilder().setTaskId(task).setState(state).setExecutorId(executor)
                .setSource(TaskStatus.Source.SOURCE_EXECUTOR).setUuid(ByteString.copyFrom(bytes));
            var update = org.apache.mesos.v1.executor.Protos.Call.Update.newBuilder().setStatus(status);
            return SinkOperations.create(call(Type.UPDATE).setUpdate(update).build());
        }
    }
}
