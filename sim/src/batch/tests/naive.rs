//! The rules of backfilling once more, as plainly as they are written, against the indexed schedulers.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// One event after the other, each followed by a pass; the waiting jobs in the order of submission.
fn naive(processors: u64, jobs: &[Job], is_shortest_first: bool) -> Vec<i64> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|job| jobs[*job].submit_us);
    let mut submissions = order.into_iter().peekable();
    let mut ends: BTreeMap<(i64, usize), usize> = BTreeMap::new();
    let mut start = vec![-1; jobs.len()];
    let (mut waiting, mut running, mut made): (Vec<usize>, Vec<usize>, usize) = (Vec::new(), Vec::new(), 0);
    loop {
        let next_end = ends.keys().next().map(|end| end.0);
        let now = match submissions.peek() {
            Some(job) if next_end.is_none_or(|end| jobs[*job].submit_us <= end) => {
                let job = submissions.next().expect("it was seen");
                waiting.push(job);
                jobs[job].submit_us
            }
            _ => {
                let Some(((end, _), job)) = ends.pop_first() else { break };
                running.retain(|one| *one != job);
                end
            }
        };
        let planned_end = |job: usize, start: &[i64]| start[job] + jobs[job].planned_us;
        let free = |running: &[usize], start: &[i64]| {
            let held = running.iter().filter(|job| planned_end(**job, start) > now);
            processors - held.map(|job| jobs[*job].processors).sum::<u64>()
        };
        let mut begin = |job: usize, running: &mut Vec<usize>, start: &mut Vec<i64>| {
            start[job] = now;
            running.push(job);
            made += 1;
            ends.insert((now + jobs[job].run_us.min(jobs[job].planned_us), made), job);
        };
        while waiting.first().is_some_and(|job| jobs[*job].processors <= free(&running, &start)) {
            let job = waiting.remove(0);
            begin(job, &mut running, &mut start);
        }
        let Some(head) = waiting.first().copied() else { continue };
        let mut planned: Vec<(i64, u64)> = running
            .iter()
            .filter(|job| planned_end(**job, &start) > now)
            .map(|job| (planned_end(*job, &start), jobs[*job].processors))
            .collect();
        planned.sort_unstable();
        let mut sum = free(&running, &start);
        let mut shadow = now;
        for (end, width) in planned {
            if sum >= jobs[head].processors && end > shadow {
                break;
            }
            sum += width;
            shadow = end;
        }
        let mut extra = sum - jobs[head].processors;
        let mut tail: Vec<usize> = waiting[1..].to_vec();
        if is_shortest_first {
            tail.sort_by_key(|job| jobs[*job].planned_us);
        }
        for job in tail {
            let (width, ends_before) = (jobs[job].processors, now + jobs[job].planned_us <= shadow);
            if width > free(&running, &start) || !(ends_before || width <= extra) {
                continue;
            }
            if !ends_before {
                extra -= width;
            }
            waiting.retain(|one| *one != job);
            begin(job, &mut running, &mut start);
        }
    }
    start
}

/// Conservative backfilling over a list of moments: what is free in each, less the reservations; reservations move forward
/// in the order of submission whenever a job ends early.
fn naive_conservative(processors: u64, jobs: &[Job]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..jobs.len()).collect();
    order.sort_by_key(|job| jobs[*job].submit_us);
    let mut free = vec![processors as i64; 4000];
    let mut start = vec![i64::MAX; jobs.len()];
    let mut submitted = Vec::new();
    let add = |free: &mut [i64], from: i64, until: i64, width: i64| {
        free[from as usize..until as usize].iter_mut().for_each(|free| *free += width);
    };
    let earliest = |free: &[i64], job: &Job, from: i64, before: i64| {
        let fits = |time: &i64| (*time..time + job.planned_us).all(|at| free[at as usize] >= job.processors as i64);
        (from..before).find(fits)
    };
    for now in 0..2500 {
        for job in order.iter().filter(|job| jobs[**job].submit_us == now) {
            let one = &jobs[*job];
            start[*job] = earliest(&free, one, now, 2500).expect("some day");
            add(&mut free, start[*job], start[*job] + one.planned_us, -(one.processors as i64));
            submitted.push(*job);
        }
        let ended = |job: &&usize| start[**job].checked_add(jobs[**job].run_us) == Some(now);
        let early = |job: &&usize| jobs[**job].run_us < jobs[**job].planned_us;
        let ended: Vec<usize> = submitted.iter().filter(ended).filter(early).copied().collect();
        for job in &ended {
            add(&mut free, now, start[*job] + jobs[*job].planned_us, jobs[*job].processors as i64);
        }
        let waiting: Vec<usize> = submitted.iter().filter(|job| start[**job] > now).copied().collect();
        for job in waiting.into_iter().filter(|_| !ended.is_empty()) {
            let (one, held) = (&jobs[job], start[job]);
            add(&mut free, held, held + one.planned_us, one.processors as i64);
            start[job] = earliest(&free, one, now, held).unwrap_or(held);
            add(&mut free, start[job], start[job] + one.planned_us, -(one.processors as i64));
        }
    }
    start
}

fn jobs(widest: u64) -> impl Strategy<Value = Vec<Job>> {
    let one = (0..60i64, 1..=widest, 1..30i64, 0..20i64);
    proptest::collection::vec(one, 1..60).prop_map(|list| {
        let make = |(id, (submit, width, run, more))| job(id, submit, width, run, run + more / 3 * 5);
        (0..).zip(list).map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn easy_is_what_its_rules_say(jobs in jobs(8)) {
        let parameters = Parameters::default();
        prop_assert_eq!(starts(8, &jobs, "easy", &parameters), naive(8, &jobs, false));
        prop_assert_eq!(starts(8, &jobs, "easy-sjbf", &parameters), naive(8, &jobs, true));
    }

    #[test]
    fn conservative_is_what_its_rules_say(jobs in jobs(8)) {
        // Once a time stamp, so that the order of several ends at one moment does not matter.
        let (jobs, parameters) = (&jobs[..jobs.len().min(25)], Parameters { passes: Passes::EachTime, ..Parameters::default() });
        prop_assert_eq!(starts(8, jobs, "conservative", &parameters), naive_conservative(8, jobs));
    }

    #[test]
    fn nothing_runs_on_processors_that_are_not_there(jobs in jobs(8), name in proptest::sample::select(&POLICIES[..])) {
        let records = run(pool(8), &jobs, policy(name.0), &Parameters::default()).expect("sound");
        let preempts = name.0.starts_with("srpt") || name.0.starts_with("las");
        for (task, job) in records.tasks.iter().zip(&jobs) {
            let (start, end) = (task.start_us.expect("started"), task.end_us.expect("ended"));
            prop_assert!(start >= job.submit_us);
            let is_whole = if preempts { end >= start + job.run_us } else { end == start + job.run_us };
            prop_assert!(is_whole);
        }
        let mut times: Vec<i64> = jobs.iter().map(|job| job.submit_us).collect();
        times.extend(records.tasks.iter().filter_map(|task| task.start_us));
        for time in times.into_iter().filter(|_| !preempts) {
            let at = records.tasks.iter().filter(|task| task.start_us <= Some(time) && Some(time) < task.end_us);
            prop_assert!(at.map(|task| task.cpus_milli).sum::<u64>() <= 8000);
        }
    }

    #[test]
    fn the_profile_finds_what_a_list_of_moments_finds(
        adds in proptest::collection::vec((0..300i64, 1..40i64, 1..4i64), 1..400),
        asks in proptest::collection::vec((1..2000u64, 1..60i64, 0..300i64), 1..20),
        now in 0..100i64,
    ) {
        let mut profile = profile::Profile::new(2000, 0);
        let mut plain = vec![2000i64; 500];
        for (from, length, width) in &adds {
            profile.add(*from, from + length, -width);
            plain[*from as usize..(from + length) as usize].iter_mut().for_each(|free| *free -= width);
        }
        profile.forget(now);
        let mut summits = Vec::new();
        profile.summits(&mut summits);
        for (width, length, from) in asks {
            let from = from.max(now);
            let enough = |time: &i64| (*time..time + length).all(|at| plain.get(at as usize).is_none_or(|free| *free >= width as i64));
            prop_assert_eq!(profile.find(width, length, from), (from..1000).find(enough));
            let first = (now..1000).find(|time| plain.get(*time as usize).is_none_or(|free| *free >= width as i64));
            let summit = summits[summits.partition_point(|summit| summit.1 < width as i64)].0;
            prop_assert_eq!(Some(summit), first);
        }
        prop_assert!(!profile.is_overbooked());
    }
}
