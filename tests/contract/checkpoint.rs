//! What every checkpoint store must do, run against each of them.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the lints' exemption for tests does not reach their helper functions"
)]

#[path = "checkpoint/bench.rs"]
mod bench;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "checkpoint/queue.rs"]
mod queue;
#[path = "../support/service.rs"]
mod service;

use jiff::{SignedDuration, Timestamp};
use pillowtop::checkpoint::{HEARTBEAT_LIFETIME, Heartbeat, Parked, ParkedFilter, SetError, SettleError, Settlement};
use pillowtop::model::{
    Digest, Epoch, Failure, FailureId, FailureKind, Partition, PillowName, Position, ProcessorName, Progress,
    RetryHelps,
};

use queue::{
    a_deferral_waits_in_the_queue_and_is_no_failure, all_that_waits_of_a_document_is_taken_up_together,
    rows_that_the_database_refuses_in_the_queue_halt_nothing,
    what_fails_in_the_queue_waits_again_until_it_failed_too_often,
};

use bench::{
    Bench, START, acquire, at, failure, lane, moved, parked, pillow, progress, resolved, row, settlement, stands_at,
    time,
};

async fn the_first_progress_sets_the_checkpoint_and_the_next_ones_follow_it(bench: Bench) {
    let first = bench.store.acquire(&pillow(), &lane()).await.unwrap();
    assert_eq!((first.epoch, first.checkpoint), (Epoch(1), None));
    moved(&bench, Epoch(1), &[progress(40, 43), progress(43, 50)]).await.unwrap();
    moved(&bench, Epoch(1), &[progress(50, 51)]).await.unwrap();
    let second = bench.store.acquire(&pillow(), &lane()).await.unwrap();
    assert_eq!((second.epoch, second.checkpoint), (Epoch(2), Some(at([51, 0]))));
    let stored = bench.store.checkpoints(None).await.unwrap();
    assert_eq!(stored[0].moved_at, Some(time(START)));
    assert!(bench.store.checkpoints(Some(&PillowName::new("other"))).await.unwrap().is_empty());
}

async fn a_position_keeps_all_its_bits_and_its_token(bench: Bench) {
    let epoch = acquire(&bench).await;
    let next = Position { order: [u64::MAX, i64::MAX as u64 + 1], token: Some("9-abc".into()) };
    moved(&bench, epoch, &[Progress { next: next.clone(), ..progress(0, 0) }]).await.unwrap();
    assert_eq!(stands_at(&bench).await.unwrap().position, next);
    let behind = moved(&bench, epoch, &[progress(u64::MAX - 1, u64::MAX)]).await;
    assert!(matches!(behind, Err(SettleError::Rewind(_))), "{behind:?}");
}

async fn an_owner_that_lost_its_partition_settles_nothing(bench: Bench) {
    let old = acquire(&bench).await;
    let new = acquire(&bench).await;
    let late = Settlement {
        progress: vec![progress(0, 3)],
        parked: vec![failure("a", None, "late")],
        rows: vec![row("a", Some(1))],
        ..settlement(old)
    };
    let fenced = bench.store.settle(&late).await;
    assert!(matches!(&fenced, Err(SettleError::Fenced { epoch, .. }) if *epoch == old), "{fenced:?}");
    // A retry moves no progress, and is fenced off all the same.
    let retry = bench.store.settle(&Settlement { progress: vec![], ..late }).await;
    assert!(matches!(retry, Err(SettleError::Fenced { .. })), "{retry:?}");
    assert_eq!((stands_at(&bench).await, parked(&bench).await.len()), (None, 0));
    assert!(bench.written().await.is_empty());
    moved(&bench, new, &[progress(0, 3)]).await.unwrap();
}

async fn progress_of_a_partition_that_nobody_acquired_is_fenced_off(bench: Bench) {
    let never = moved(&bench, Epoch(1), &[progress(0, 3)]).await;
    assert!(matches!(never, Err(SettleError::Fenced { .. })), "{never:?}");
    let epoch = acquire(&bench).await;
    let foreign = Progress { partition: Partition::new("case", 1), ..progress(0, 3) };
    let unclaimed = moved(&bench, epoch, &[foreign]).await;
    assert!(matches!(unclaimed, Err(SettleError::Fenced { .. })), "{unclaimed:?}");
}

async fn a_rewind_is_refused_and_leaves_everything_as_it_was(bench: Bench) {
    let epoch = acquire(&bench).await;
    moved(&bench, epoch, &[progress(0, 5)]).await.unwrap();
    let rewind = Settlement {
        progress: vec![progress(5, 7), progress(6, 9)],
        rows: vec![row("a", Some(1))],
        parked: vec![failure("b", None, "x")],
        ..settlement(epoch)
    };
    let refused = bench.store.settle(&rewind).await;
    assert!(matches!(refused, Err(SettleError::Rewind(_))), "{refused:?}");
    assert_eq!(stands_at(&bench).await, Some(at([5, 0])));
    assert_eq!((bench.written().await.len(), parked(&bench).await.len()), (0, 0));
}

async fn another_log_of_the_same_name_is_refused(bench: Bench) {
    let epoch = acquire(&bench).await;
    moved(&bench, epoch, &[progress(0, 5)]).await.unwrap();
    let refused = moved(&bench, epoch, &[Progress { incarnation: "log-b".into(), ..progress(5, 7) }]).await;
    let Err(SettleError::Rewind(rewind)) = refused else { panic!("{refused:?}") };
    assert_eq!(rewind.to_string(), "case:0: batch belongs to log log-b, but the checkpoint to log log-a");
}

async fn failures_are_parked_with_the_progress_that_moves_past_them(bench: Bench) {
    let epoch = acquire(&bench).await;
    let undecodable = Failure {
        id: FailureId::undecodable(&lane(), &Position::number(6)),
        kind: FailureKind::InvalidInput,
        digest: None,
        last_log: None,
        change: None,
        bytes: Some(vec![0xff, 0, b'x'].into()),
        ..failure("b", None, "not a change message")
    };
    let failures = vec![failure("a", Some("visits"), "no date"), undecodable];
    let step = Settlement { progress: vec![progress(4, 8)], parked: failures.clone(), ..settlement(epoch) };
    bench.store.settle(&step).await.unwrap();
    assert_eq!(stands_at(&bench).await, Some(at([8, 0])));
    let found = parked(&bench).await;
    assert_eq!(found.iter().map(|parked| parked.failure.clone()).collect::<Vec<_>>(), failures);
    assert!(found.iter().all(|parked| parked.attempts == 1 && !parked.due && parked.pillow == pillow()));
}

async fn a_failure_that_comes_again_counts_up_and_keeps_when_it_came_first(bench: Bench) {
    let epoch = acquire(&bench).await;
    let park = |message: &str, at: &str| Settlement {
        parked: vec![failure("a", None, message)],
        time: time(at),
        ..settlement(epoch)
    };
    bench.store.settle(&park("first", START)).await.unwrap();
    assert_eq!(bench.store.mark_due(&ParkedFilter::default()).await.unwrap(), 1);
    assert!(parked(&bench).await[0].due);
    bench.store.settle(&park("second", "2026-02-03T11:00:00Z")).await.unwrap();
    let [again] = <[Parked; 1]>::try_from(parked(&bench).await).unwrap();
    assert_eq!((again.attempts, again.failure.message.as_str(), again.due), (2, "second", false));
    assert_eq!((again.first_at, again.last_at), (time(START), time("2026-02-03T11:00:00Z")));
}

async fn a_success_resolves_all_parts_but_those_that_failed(bench: Bench) {
    let epoch = acquire(&bench).await;
    let parked_before = [("a", None), ("a", Some("visits")), ("a", Some("births")), ("b", None)];
    let failures = parked_before.map(|(id, part)| failure(id, part, "x")).to_vec();
    let other = Failure {
        id: FailureId { processor: Some(ProcessorName::new("index")), ..failures[0].id.clone() },
        ..failures[0].clone()
    };
    let park = Settlement { parked: [failures, vec![other]].concat(), ..settlement(epoch) };
    bench.store.settle(&park).await.unwrap();
    let done = Settlement { resolved: vec![resolved("a", &["births"])], ..settlement(epoch) };
    bench.store.settle(&done).await.unwrap();
    let left: Vec<(String, String, Option<String>)> = parked(&bench)
        .await
        .into_iter()
        .map(|parked| parked.failure.id)
        .map(|id| (id.processor.unwrap().to_string(), id.document.id.to_string(), id.part))
        .collect();
    let left: Vec<_> = left.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_deref())).collect();
    assert_eq!(left, [("rows", "a", Some("births")), ("rows", "b", None), ("index", "a", None)]);
}

async fn a_failure_that_is_also_resolved_stays_and_keeps_its_first_time(bench: Bench) {
    let epoch = acquire(&bench).await;
    let park = Settlement { parked: vec![failure("a", Some("visits"), "x")], ..settlement(epoch) };
    bench.store.settle(&park).await.unwrap();
    let both = Settlement { resolved: vec![resolved("a", &[])], time: time("2026-02-03T12:00:00Z"), ..park.clone() };
    bench.store.settle(&both).await.unwrap();
    let [stays] = <[Parked; 1]>::try_from(parked(&bench).await).unwrap();
    assert_eq!((stays.attempts, stays.first_at), (2, time(START)));
}

async fn a_document_whose_rows_are_refused_is_parked_and_the_others_are_written(bench: Bench) {
    let epoch = acquire(&bench).await;
    let step = Settlement {
        progress: vec![progress(0, 4)],
        rows: vec![row("a", Some(1)), row("b", None), row("c", Some(3))],
        resolved: vec![resolved("a", &[]), resolved("b", &[]), resolved("c", &[])],
        ..settlement(epoch)
    };
    let settled = bench.store.settle(&step).await.unwrap();
    assert_eq!((bench.written().await, settled.rows), (vec!["a".to_owned(), "c".to_owned()], 2));
    assert_eq!(stands_at(&bench).await, Some(at([4, 0])));
    let [found] = <[Parked; 1]>::try_from(parked(&bench).await).unwrap();
    let expected = Failure {
        kind: FailureKind::Rejected,
        message: "visits.count: is null, but must have a value".to_owned(),
        last_log: None,
        retry: RetryHelps::No,
        digest: Some(Digest([9; 32])),
        ..failure("b", Some("visits"), "")
    };
    assert_eq!(found.failure, expected);
    assert_eq!(settled.rejected, [expected]);
    // It fails again, although the settle says that its processor succeeded.
    bench.store.settle(&Settlement { progress: vec![], ..step }).await.unwrap();
    assert_eq!(parked(&bench).await[0].attempts, 2);
}

async fn too_many_refused_documents_roll_everything_back(bench: Bench) {
    let epoch = acquire(&bench).await;
    let step = Settlement {
        progress: vec![progress(0, 4)],
        rows: vec![row("a", Some(1)), row("b", None), row("c", None), row("d", None)],
        parked: vec![failure("a", None, "x")],
        ..settlement(epoch)
    };
    let refused = bench.store.settle(&step).await;
    let Err(SettleError::TooManyRejected(failures)) = refused else { panic!("{refused:?}") };
    assert_eq!(failures.len(), 3);
    assert_eq!((stands_at(&bench).await, parked(&bench).await.len()), (None, 0));
    assert!(bench.written().await.is_empty());
}

async fn a_refused_row_of_an_unknown_document_is_no_loss_but_an_error(bench: Bench) {
    let epoch = acquire(&bench).await;
    let step = Settlement { rows: vec![row("stranger", None)], progress: vec![progress(0, 1)], ..settlement(epoch) };
    let refused = bench.store.settle(&step).await;
    assert!(matches!(refused, Err(SettleError::UnknownDocument(_))), "{refused:?}");
    assert_eq!(stands_at(&bench).await, None);
}

async fn versions_only_grow_whatever_the_clock_says(bench: Bench) {
    let seed = u64::try_from(time(START).as_microsecond()).unwrap();
    let first = bench.store.draw_version().await.unwrap().0;
    assert!(first > seed, "{first}");
    let second = bench.store.draw_version().await.unwrap().0;
    let earlier = bench.reopened("2020-01-01T00:00:00Z").await;
    let third = earlier.draw_version().await.unwrap().0;
    let fourth = bench.store.draw_version().await.unwrap().0;
    let later = bench.reopened("2027-01-01T00:00:00Z").await;
    let fifth = later.draw_version().await.unwrap().0;
    assert!(first < second && second < third && third < fourth && fourth < fifth);
    assert!(fifth > u64::try_from(time("2027-01-01T00:00:00Z").as_microsecond()).unwrap());
    assert!(bench.store.draw_version().await.unwrap().0 > fifth);
}

async fn the_engines_moves_are_kept_by_minute_then_by_hour_then_not_at_all(bench: Bench) {
    let epoch = acquire(&bench).await;
    let start = time(START);
    let step = |number: u64, minutes: i64| Settlement {
        progress: vec![progress(number, number + 1)],
        time: start + SignedDuration::from_mins(minutes),
        ..settlement(epoch)
    };
    let day = 24 * 60;
    // Twice in the first minute; twice in the first hour; once in the next; then a day, and a month later.
    for (number, minutes) in [(0, 0), (1, 0), (2, 30), (3, 60)] {
        bench.store.settle(&step(number, minutes)).await.unwrap();
    }
    let positions = async || {
        let moves = bench.store.history(&pillow(), 100).await.unwrap();
        assert!(moves.iter().all(|made| made.who == "engine" && made.why == "settle" && made.partition == lane()));
        moves.iter().map(|made| made.checkpoint.position.as_number()).collect::<Vec<_>>()
    };
    assert_eq!(positions().await, [4, 3, 2]);
    bench.store.settle(&step(4, day + 31)).await.unwrap();
    assert_eq!(positions().await, [5, 4, 3]);
    bench.store.settle(&step(5, 30 * day + 31)).await.unwrap();
    assert_eq!(positions().await, [6, 5, 4]);
    assert_eq!(bench.store.history(&pillow(), 1).await.unwrap().len(), 1);
}

async fn an_operator_moves_a_checkpoint_and_is_remembered_for_ever(bench: Bench) {
    let epoch = acquire(&bench).await;
    moved(&bench, epoch, &[progress(0, 9)]).await.unwrap();
    let back = at([3, 0]);
    bench.store.set(&pillow(), &lane(), &back, "ada", "bad deploy", time(START)).await.unwrap();
    let fenced = moved(&bench, epoch, &[progress(9, 10)]).await;
    assert!(matches!(fenced, Err(SettleError::Fenced { .. })), "{fenced:?}");
    let acquired = bench.store.acquire(&pillow(), &lane()).await.unwrap();
    assert_eq!(acquired.checkpoint, Some(back.clone()));
    let much_later =
        Settlement { progress: vec![progress(3, 4)], time: time("2027-02-03T10:00:00Z"), ..settlement(acquired.epoch) };
    bench.store.settle(&much_later).await.unwrap();
    let history = bench.store.history(&pillow(), 10).await.unwrap();
    assert_eq!(history.len(), 2);
    let operators = &history[1];
    assert_eq!((operators.who.as_str(), operators.why.as_str()), ("ada", "bad deploy"));
    assert_eq!((operators.at, &operators.checkpoint), (time(START), &back));
    // A partition that was never acquired can be set as well.
    let fresh = Partition::new("case", 7);
    bench.store.set(&pillow(), &fresh, &back, "ada", "start late", time(START)).await.unwrap();
    assert_eq!(bench.store.acquire(&pillow(), &fresh).await.unwrap().checkpoint, Some(back));
}

async fn a_checkpoint_is_not_set_while_a_host_runs_the_pillow(bench: Bench) {
    let beat = |at: Timestamp| Heartbeat {
        pillow: pillow(),
        host: "host-1".into(),
        at,
        status: serde_json::json!({ "state": "running" }),
    };
    let set = async |at: Timestamp| bench.store.set(&pillow(), &lane(), &self::at([3, 0]), "ada", "x", at).await;
    let start = time(START);
    bench.store.beat(&[beat(start - SignedDuration::from_secs(60))]).await.unwrap();
    bench.store.beat(&[beat(start)]).await.unwrap();
    assert_eq!(bench.store.heartbeats().await.unwrap(), [beat(start)]);
    let almost = start + HEARTBEAT_LIFETIME - SignedDuration::from_millis(1);
    let refused = set(almost).await;
    assert!(matches!(&refused, Err(SetError::Running { host, .. }) if host == "host-1"), "{refused:?}");
    assert_eq!(stands_at(&bench).await, None);
    set(start + HEARTBEAT_LIFETIME).await.unwrap();
    bench.store.beat(&[beat(start)]).await.unwrap();
    bench.store.leave("host-1").await.unwrap();
    assert!(bench.store.heartbeats().await.unwrap().is_empty());
    set(start).await.unwrap();
}

async fn parked_failures_are_found_marked_and_dropped_by_filter(bench: Bench) {
    let epoch = acquire(&bench).await;
    let undecodable = Failure {
        id: FailureId::undecodable(&lane(), &Position::number(6)),
        change: None,
        ..failure("z", None, "not a change message")
    };
    let failures =
        vec![failure("a", None, "1"), failure("a", Some("births"), "2"), failure("b", None, "3"), undecodable];
    bench.store.settle(&Settlement { parked: failures, ..settlement(epoch) }).await.unwrap();
    let messages = async |filter: &ParkedFilter| {
        let found = bench.store.parked(filter).await.unwrap();
        found.into_iter().map(|parked| parked.failure.message).collect::<Vec<_>>()
    };
    let all = ParkedFilter::default();
    let of_a = ParkedFilter { document_id: Some("a".into()), ..all.clone() };
    assert_eq!(messages(&of_a).await, ["1", "2"]);
    assert_eq!(messages(&ParkedFilter { limit: 1, ..of_a.clone() }).await, ["1"]);
    assert_eq!(messages(&ParkedFilter { processor: Some("rows".into()), ..all.clone() }).await, ["1", "2", "3"]);
    assert!(messages(&ParkedFilter { pillow: Some(PillowName::new("other")), ..all.clone() }).await.is_empty());
    let due = ParkedFilter { due: true, ..all.clone() };
    assert_eq!(bench.store.mark_due(&of_a).await.unwrap(), 2);
    assert_eq!(messages(&due).await, ["1", "2"]);
    // What could not be decoded cannot be retried.
    assert_eq!(bench.store.mark_due(&all).await.unwrap(), 3);
    let number = bench.store.parked(&of_a).await.unwrap()[0].number;
    assert_eq!(bench.store.drop_parked(&ParkedFilter { number: Some(number), ..all.clone() }).await.unwrap(), 1);
    assert_eq!(messages(&all).await, ["2", "3", "not a change message"]);
}

async fn a_halt_is_kept_with_its_causes_until_the_pillow_is_resumed(bench: Bench) {
    let (store, causes) = (&bench.store, ["9 × rows: trap".to_owned(), "1 × rows: \"limit\"".to_owned()]);
    assert!(store.halted(&pillow()).await.unwrap().is_empty());
    store.set_paused(&pillow(), true).await.unwrap();
    assert!(store.halted(&pillow()).await.unwrap().is_empty(), "an operator paused it");
    for _ in 0..2 {
        store.halt(&pillow(), &causes).await.unwrap();
        store.set_paused(&pillow(), true).await.unwrap();
        assert!(store.is_paused(&pillow()).await.unwrap());
        assert_eq!(store.halted(&pillow()).await.unwrap(), causes);
        store.set_paused(&pillow(), false).await.unwrap();
        assert!(!store.is_paused(&pillow()).await.unwrap());
        assert!(store.halted(&pillow()).await.unwrap().is_empty());
    }
}

async fn a_pillow_is_paused_until_it_is_resumed(bench: Bench) {
    for paused in [false, true, true, false] {
        bench.store.set_paused(&pillow(), paused).await.unwrap();
        assert_eq!(bench.store.is_paused(&pillow()).await.unwrap(), paused);
    }
}

async fn what_was_settled_is_there_for_the_next_host(bench: Bench) {
    let epoch = acquire(&bench).await;
    let step =
        Settlement { progress: vec![progress(0, 4)], parked: vec![failure("a", None, "x")], ..settlement(epoch) };
    bench.store.settle(&step).await.unwrap();
    let next = bench.reopened(START).await;
    assert_eq!(next.acquire(&pillow(), &lane()).await.unwrap().checkpoint, Some(at([4, 0])));
    assert_eq!(next.parked(&ParkedFilter::default()).await.unwrap().len(), 1);
    let fenced = moved(&bench, epoch, &[progress(4, 5)]).await;
    assert!(matches!(fenced, Err(SettleError::Fenced { .. })), "{fenced:?}");
}

macro_rules! contract {
    ($($promise:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::memory()).await; })*
        }
        mod sqlite {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::sqlite().await).await; })*
        }
        mod postgresql {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Bench::postgres().await).await; })*
        }
    };
}

contract! {
    the_first_progress_sets_the_checkpoint_and_the_next_ones_follow_it
    a_position_keeps_all_its_bits_and_its_token
    an_owner_that_lost_its_partition_settles_nothing
    progress_of_a_partition_that_nobody_acquired_is_fenced_off
    a_rewind_is_refused_and_leaves_everything_as_it_was
    another_log_of_the_same_name_is_refused
    failures_are_parked_with_the_progress_that_moves_past_them
    a_failure_that_comes_again_counts_up_and_keeps_when_it_came_first
    a_success_resolves_all_parts_but_those_that_failed
    a_failure_that_is_also_resolved_stays_and_keeps_its_first_time
    a_document_whose_rows_are_refused_is_parked_and_the_others_are_written
    too_many_refused_documents_roll_everything_back
    a_refused_row_of_an_unknown_document_is_no_loss_but_an_error
    versions_only_grow_whatever_the_clock_says
    the_engines_moves_are_kept_by_minute_then_by_hour_then_not_at_all
    an_operator_moves_a_checkpoint_and_is_remembered_for_ever
    a_checkpoint_is_not_set_while_a_host_runs_the_pillow
    parked_failures_are_found_marked_and_dropped_by_filter
    a_halt_is_kept_with_its_causes_until_the_pillow_is_resumed
    a_pillow_is_paused_until_it_is_resumed
    what_was_settled_is_there_for_the_next_host
    a_deferral_waits_in_the_queue_and_is_no_failure
    all_that_waits_of_a_document_is_taken_up_together
    what_fails_in_the_queue_waits_again_until_it_failed_too_often
    rows_that_the_database_refuses_in_the_queue_halt_nothing
}
