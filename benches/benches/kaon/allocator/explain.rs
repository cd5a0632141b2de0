//! One question to the allocator about a framework, at 10,000 agents by 200 frameworks: with nothing free anywhere, with
//! everything free and a wish that fits nowhere or everywhere, and where no agent is like the one before it.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use kaon_actors::allocator::engine::Rules;
use kaon_actors::allocator::engine::scenario::Scenario;
use kaon_kernel::actor::StreamId;
use kaon_kernel::chance::Chance;
use kaon_kernel::id::{AgentIndex, FrameworkId};
use kaon_kernel::message::explain::{Question, Subject};
use kaon_kernel::resource::parse;
use kaon_kernel::time::Instant;

pub(crate) fn bench(group: &mut BenchmarkGroup<'_, WallTime>) {
    let scenario = Scenario { agents: 10_000, frameworks: 200, roles: 1 };
    let subject = Subject::Framework(FrameworkId::trusted("framework-0007"));
    let ask = |wants: &str| {
        let wants = parse::resources(wants).expect("a resource text");
        Question { subject: subject.clone(), wants, placement: None, reply: StreamId(1) }
    };
    let free = scenario.engine(Rules::default());
    let mut full = scenario.engine(Rules::default());
    let mut unlike = scenario.engine(Rules::default());
    let larger = parse::resources("cpus:32;mem:8192;disk:4096;ports:[31000-32000]").expect("a resource text");
    for agent in (0..scenario.agents).step_by(2) {
        unlike.update_agent(AgentIndex(agent), larger.clone()).expect("the agent is known");
    }
    let mut grants = Vec::new();
    full.cycle(Instant(1), &mut Chance::new(1), &mut grants);
    for (name, engine, question) in [
        ("nothing-free", &full, ask("")),
        ("too-small", &free, ask("cpus:1000")),
        ("all-open", &free, ask("cpus:1")),
        ("unlike", &unlike, ask("cpus:1000")),
    ] {
        group.bench_function(format!("explain/{name}/10000x200"), |b| {
            b.iter(|| engine.answer(&question, Instant(1)).expect("the framework is known"));
        });
    }
}
