//! How long a run takes.
//!
//! Each sample is the time between two events around a replayed graph of one or more runs. A model's kernels find
//! their inputs in memory, not in the L2 cache, so consecutive runs use different copies of the inputs and outputs,
//! together more than twice the cache. Where even many copies are too small for that, a fill of twice the cache
//! goes before each sample. The GPU works on that fill, or on earlier samples, while the host queues the next
//! ones, so the host's time is in none of them.

use crate::error::During;
use crate::memory::Block;
use crate::prepared::Graph;
use crate::{CudaError, Driver, EventId, Prepared};
use mixc_launch::{Role, Timing};
use std::rc::Rc;

/// How to measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TimingOptions {
    /// Wanted number of samples.
    pub samples: usize,
    /// Device time of the runs before the first sample.
    pub warmup_us: f64,
    /// Device time of all samples together; fewer samples are taken if they would need more, but 5 at least.
    pub max_us: f64,
    /// Runs are put together until a sample takes about this long, as far as there are copies.
    pub sample_us: f64,
    /// Whether inputs come from memory rather than from the cache.
    pub cold: bool,
}

impl Default for TimingOptions {
    fn default() -> TimingOptions {
        TimingOptions {
            samples: 50,
            warmup_us: 50_000.0,
            max_us: 3_000_000.0,
            sample_us: 100.0,
            cold: true,
        }
    }
}

/// A timing and the circumstances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    pub timing: Timing,
    /// Sets of inputs and outputs that runs took in turn.
    pub copies: usize,
    /// Whether the cache was overwritten before each sample.
    pub flushed: bool,
}

const MIN_SAMPLES: usize = 5;
const MAX_COPIES: u64 = 64;

impl<D: Driver> Prepared<D> {
    /// Measures runs on the uploaded inputs. Outputs are overwritten.
    pub fn time(&mut self, options: &TimingOptions) -> Result<Measured, CudaError> {
        if self.is_empty() {
            return Err(CudaError::NothingToTime);
        }
        let flush = match options.cold {
            true => self.make_copies()?,
            false => None,
        };
        let copies = self.copies.len();
        let once = self.capture()?;
        let run_us = self.warm_up(&once, options.warmup_us)?;
        let wanted = options.sample_us / run_us.max(0.01);
        let runs = (wanted.round() as usize).clamp(1, copies);
        let mut groups = vec![];
        for members in rotation(copies, runs) {
            groups.push(self.capture_runs(&members)?);
        }
        let affordable = (options.max_us / (run_us * runs as f64).max(0.01)) as usize;
        let samples = options.samples.min(affordable).max(MIN_SAMPLES);
        let us = self.sample(&groups, samples, runs, flush.as_ref())?;
        let timing = Timing::of(&us, runs).ok_or(CudaError::NothingToTime)?;
        Ok(Measured {
            timing,
            copies,
            flushed: flush.is_some(),
        })
    }

    /// Makes copies until they exceed twice the cache, as far as memory allows; returns memory to flush the cache
    /// with if they do not.
    fn make_copies(&mut self) -> Result<Option<Block<D>>, CudaError> {
        let cache = 2 * self.driver.card().l2_bytes;
        let sizes = self.plan.buffers.iter().filter(|b| b.role != Role::Work);
        let one: u64 = sizes.map(|b| b.size_bytes().unwrap_or(0)).sum();
        // One more than would just do, so that even the first bytes of a copy are gone when its turn comes.
        let wanted = (cache / one.max(1) + 2).min(MAX_COPIES);
        let free = self
            .driver
            .memory()
            .during("asking for the free memory")?
            .free;
        let spare = free.saturating_sub(2 * cache) / 10 * 8;
        let possible = 1 + spare / (one.max(1) + (1 << 20));
        let copies = wanted.min(possible) as usize;
        self.copies.truncate(copies);
        while self.copies.len() < copies {
            self.add_copy()?;
        }
        let enough = copies as u64 * one > cache;
        match enough || cache == 0 {
            true => Ok(None),
            false => Block::new(&self.driver, cache, "flushing the cache").map(Some),
        }
    }

    /// Runs until the clocks are up; returns the device time of one run in microseconds.
    fn warm_up(&self, once: &Graph<D>, warmup_us: f64) -> Result<f64, CudaError> {
        // The first run may also load code.
        once.replay()?;
        self.wait()?;
        let (start, end) = (Event::new(&self.driver)?, Event::new(&self.driver)?);
        let (mut total, mut runs) = (0.0, 0);
        loop {
            // Twice as many each time: few waits for short runs, few runs for long ones.
            let batch = runs.max(1);
            start.record()?;
            for _ in 0..batch {
                once.replay()?;
            }
            end.record()?;
            self.wait()?;
            let us = start.until(&end)?;
            total += us;
            runs += batch;
            if total >= warmup_us || runs >= 100_000 {
                return Ok(us / batch as f64);
            }
        }
    }

    fn sample(
        &self,
        groups: &[Graph<D>],
        samples: usize,
        runs: usize,
        flush: Option<&Block<D>>,
    ) -> Result<Vec<f64>, CudaError> {
        let mut events = vec![];
        for sample in 0..samples {
            let pair = (Event::new(&self.driver)?, Event::new(&self.driver)?);
            if let Some(block) = flush {
                block.zero()?;
            }
            pair.0.record()?;
            groups[sample % groups.len()].replay()?;
            pair.1.record()?;
            events.push(pair);
        }
        self.wait()?;
        let each = events
            .iter()
            .map(|(start, end)| Ok(start.until(end)? / runs as f64));
        each.collect()
    }
}

/// Which copies the runs of consecutive samples take: all in turn, around and around, until it repeats.
fn rotation(copies: usize, runs: usize) -> Vec<Vec<usize>> {
    let group = |g: usize| (g * runs..(g + 1) * runs).map(|run| run % copies).collect();
    let repeats = |g: &usize| *g > 0 && (g * runs).is_multiple_of(copies);
    let groups = (0..).find(repeats).unwrap_or(1);
    (0..groups).map(group).collect()
}

/// An event, given back when dropped.
struct Event<D: Driver> {
    driver: Rc<D>,
    id: EventId,
}

impl<D: Driver> Event<D> {
    fn new(driver: &Rc<D>) -> Result<Event<D>, CudaError> {
        let id = driver.event().during("making an event")?;
        Ok(Event {
            driver: driver.clone(),
            id,
        })
    }

    fn record(&self) -> Result<(), CudaError> {
        self.driver.record(self.id).during("recording an event")
    }

    /// Microseconds; both events must have happened.
    fn until(&self, end: &Event<D>) -> Result<f64, CudaError> {
        self.driver
            .elapsed_us(self.id, end.id)
            .during("reading a time")
    }
}

impl<D: Driver> Drop for Event<D> {
    fn drop(&mut self) {
        // The event of a broken context goes with the context.
        let _ = self.driver.drop_event(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::rotation;

    #[test]
    fn all_copies_have_their_turn() {
        assert_eq!(rotation(3, 1), [[0], [1], [2]]);
        assert_eq!(rotation(3, 2), [[0, 1], [2, 0], [1, 2]]);
        assert_eq!(rotation(6, 4), [[0, 1, 2, 3], [4, 5, 0, 1], [2, 3, 4, 5]]);
        assert_eq!(rotation(4, 4), [[0, 1, 2, 3]]);
        assert_eq!(rotation(1, 1), [[0]]);
    }
}
