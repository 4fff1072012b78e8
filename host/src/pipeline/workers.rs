//! The threads that call processors: as many as cores, shared by all pillows, fed through one bounded queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::{mpsc, oneshot};

use super::process::{Job, Report};

/// A cheap handle on the worker threads. They end when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct Workers {
    queue: mpsc::Sender<(Job, oneshot::Sender<Report>)>,
    count: usize,
}

impl Workers {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// When the system gives no more threads.
    pub fn start(count: usize) -> std::io::Result<Self> {
        // Twice the workers: one call in hand and one ready for each. Whoever has more to do waits in line.
        let (queue, jobs) = mpsc::channel(count * 2);
        let jobs = Arc::new(Mutex::new(jobs));
        for worker in 0..count {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name(format!("processor-{worker}")).spawn(move || work(worker, &jobs))?;
        }
        Ok(Self { queue, count })
    }

    /// How many threads there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Runs a job on the next free thread. None when the thread died of it, which is a defect of the host.
    pub(super) async fn run(&self, job: Job) -> Option<Report> {
        let (reply, report) = oneshot::channel();
        self.queue.send((job, reply)).await.ok()?;
        report.await.ok()
    }
}

fn work(worker: usize, jobs: &Mutex<mpsc::Receiver<(Job, oneshot::Sender<Report>)>>) {
    loop {
        // One thread waits at the queue, the others at the lock: whoever comes first takes the next job.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some((job, reply)) = next else {
            return;
        };
        // Nobody waits for the answer of a pillow that was aborted.
        drop(reply.send(job.run(worker)));
    }
}
