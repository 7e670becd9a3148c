//! Who has seen whose accesses: vector clocks (Lamport 1978; Flanagan and Freund, "FastTrack", 2009).
//!
//! Every warp has a counter that ticks at each release (barrier, arrive, fence). An access is named by
//! its thread and the counter then. A thread knows, for every other thread, up to which count it is
//! ordered behind it. After a barrier all its threads share one snapshot, so a snapshot is a shared
//! pointer. Asynchronous engines are further "threads" with counters of their own. A snapshot begins with
//! one number for each warp that is at most what is known of any of its threads: most questions about a
//! whole warp end there.

use std::sync::Arc;

/// Index of a thread (warp * 32 + lane) or of an asynchronous agent.
pub type Actor = u32;

/// By warp: a lower bound over its threads; then by actor.
pub type Snapshot = Arc<[u32]>;

pub struct Clocks {
    /// Counters of warps.
    now: Vec<u32>,
    /// Counters of agents.
    agents: Vec<u32>,
    threads: usize,
    /// By thread: what it is ordered behind.
    seen: Vec<Snapshot>,
    /// By thread: generic accesses that a proxy fence has made visible to the asynchronous proxy.
    fenced: Vec<Snapshot>,
    track_fences: bool,
}

/// Agents beyond this many share the last one.
const AGENTS: usize = 64;

/// What a set of threads gave to a barrier.
#[derive(Clone, Default)]
pub struct Release {
    seen: Vec<u32>,
    fenced: Vec<u32>,
    /// The last snapshots joined, to skip joining them again.
    last: Option<(Snapshot, Snapshot)>,
}

impl Release {
    pub fn clear(&mut self) {
        *self = Release::default();
    }
}

/// The joined knowledge of a completed barrier.
#[derive(Clone)]
pub struct Acquire {
    seen: Snapshot,
    fenced: Snapshot,
}

fn join(into: &mut Vec<u32>, from: &[u32]) {
    if into.len() < from.len() {
        into.resize(from.len(), 0);
    }
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

/// `old` joined with `from`. Lanes of a warp mostly share a snapshot, so the last result is kept.
fn joined(old: &Snapshot, from: &Snapshot, cache: &mut Option<(Snapshot, Snapshot)>) -> Snapshot {
    if let Some((key, value)) = cache
        && Arc::ptr_eq(key, old)
    {
        return value.clone();
    }
    let mut new = old.to_vec();
    join(&mut new, from);
    let new: Snapshot = new.into();
    *cache = Some((old.clone(), new.clone()));
    new
}

impl Clocks {
    pub fn new(warps: usize, track_fences: bool) -> Clocks {
        let threads = warps * 32;
        let width = warps + threads + if track_fences { AGENTS } else { 0 };
        let empty: Snapshot = vec![0; width].into();
        Clocks {
            now: vec![1; warps],
            agents: vec![1; AGENTS],
            threads,
            seen: vec![empty.clone(); threads],
            fenced: vec![empty; threads],
            track_fences,
        }
    }

    pub fn now(&self, warp: usize) -> u32 {
        self.now[warp]
    }

    #[inline]
    pub fn knows(&self, thread: usize, actor: Actor, clock: u32) -> bool {
        actor as usize == thread
            || self.seen[thread]
                .get(self.place(actor))
                .is_some_and(|&c| c >= clock)
    }

    /// Where a snapshot keeps what is known of an actor.
    #[inline]
    fn place(&self, actor: Actor) -> usize {
        self.now.len() + actor as usize
    }

    /// Lanes of `warp` among `mask` whose accesses at `clock` are not ordered before `thread`.
    pub fn unknown_lanes(&self, thread: usize, warp: usize, mask: u32, clock: u32) -> u32 {
        if self.seen[thread][warp] >= clock {
            return 0;
        }
        let first = self.place(warp as Actor * 32);
        let lanes = &self.seen[thread][first..first + 32];
        let mut unknown = 0u32;
        for (lane, &c) in lanes.iter().enumerate() {
            unknown |= u32::from(c < clock) << lane;
        }
        unknown &= mask;
        if thread / 32 == warp {
            unknown &= !(1 << (thread % 32));
        }
        unknown
    }

    pub fn fence_covers(&self, thread: usize, actor: Actor, clock: u32) -> bool {
        self.fenced[thread]
            .get(self.place(actor))
            .is_some_and(|&c| c >= clock)
    }

    /// Threads `lanes` of `warp` release into `release`; their later accesses count anew.
    pub fn release(&mut self, warp: usize, lanes: u32, release: &mut Release) {
        let clock = self.now[warp];
        for lane in bits(lanes) {
            let t = warp * 32 + lane;
            let (seen, fenced) = (&self.seen[t], &self.fenced[t]);
            let again = release
                .last
                .as_ref()
                .is_some_and(|(s, f)| Arc::ptr_eq(s, seen) && Arc::ptr_eq(f, fenced));
            if !again {
                join(&mut release.seen, seen);
                if self.track_fences {
                    join(&mut release.fenced, fenced);
                }
                release.last = Some((seen.clone(), fenced.clone()));
            }
            let place = self.place(t as Actor);
            release.seen[place] = clock;
        }
        let first = self.place(warp as Actor * 32);
        let lowest = release.seen[first..first + 32].iter().min();
        release.seen[warp] = lowest.copied().unwrap_or(0);
        self.now[warp] += 1;
    }

    /// An asynchronous agent's accesses so far become part of `release`.
    pub fn release_agent(&mut self, agent: Actor, release: &mut Release) {
        let index = agent as usize - self.threads;
        let place = self.place(agent);
        if release.seen.len() <= place {
            release.seen.resize(self.width(true), 0);
        }
        release.seen[place] = self.agents[index];
    }

    fn width(&self, agents: bool) -> usize {
        self.now.len() + self.threads + if agents { AGENTS } else { 0 }
    }

    pub fn complete(&self, release: &Release) -> Acquire {
        let width = self.width(self.track_fences);
        let (mut seen, mut fenced) = (release.seen.clone(), release.fenced.clone());
        seen.resize(width.max(seen.len()), 0);
        fenced.resize(width, 0);
        Acquire {
            seen: seen.into(),
            fenced: fenced.into(),
        }
    }

    /// `lanes` of `warp` are ordered behind everything in `from`. Threads of a whole barrier take the
    /// snapshot as it is (`replace`), since it contains what they knew.
    pub fn acquire(&mut self, warp: usize, lanes: u32, from: &Acquire, replace: bool) {
        let (mut seen_cache, mut fenced_cache) = (None, None);
        for lane in bits(lanes) {
            let t = warp * 32 + lane;
            if replace {
                self.seen[t] = from.seen.clone();
                self.fenced[t] = from.fenced.clone();
                continue;
            }
            self.seen[t] = joined(&self.seen[t], &from.seen, &mut seen_cache);
            if self.track_fences {
                self.fenced[t] = joined(&self.fenced[t], &from.fenced, &mut fenced_cache);
            }
        }
    }

    /// `fence.proxy.async`: everything ordered before these threads becomes visible to the
    /// asynchronous proxy.
    pub fn proxy_fence(&mut self, warp: usize, lanes: u32) {
        let clock = self.now[warp];
        for lane in bits(lanes) {
            let t = warp * 32 + lane;
            let mut new = self.fenced[t].to_vec();
            join(&mut new, &self.seen[t]);
            new[self.place(t as Actor)] = clock;
            self.fenced[t] = new.into();
        }
        self.now[warp] += 1;
    }

    pub fn agent(&self, index: usize) -> Actor {
        (self.threads + index.min(AGENTS - 1)) as Actor
    }

    pub fn is_agent(&self, actor: Actor) -> bool {
        actor as usize >= self.threads
    }

    pub fn agent_now(&self, agent: Actor) -> u32 {
        self.agents[agent as usize - self.threads]
    }

    pub fn agent_tick(&mut self, agent: Actor) {
        self.agents[agent as usize - self.threads] += 1;
    }

    /// `lanes` of `warp` are ordered behind an agent's accesses up to `clock`.
    pub fn learn(&mut self, warp: usize, lanes: u32, agent: Actor, clock: u32) {
        for lane in bits(lanes) {
            let t = warp * 32 + lane;
            let mut new = self.seen[t].to_vec();
            let known = &mut new[self.place(agent)];
            *known = clock.max(*known);
            self.seen[t] = new.into();
        }
    }
}

/// The set lanes of a mask, lowest first.
pub fn bits(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        if rest == 0 {
            return None;
        }
        let lane = rest.trailing_zeros() as usize;
        rest &= rest - 1;
        Some(lane)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_orders_what_came_before_it_only() {
        let mut clocks = Clocks::new(2, false);
        let before = clocks.now(0);
        let mut release = Release::default();
        clocks.release(0, u32::MAX, &mut release);
        clocks.release(1, u32::MAX, &mut release);
        let after = clocks.now(0);
        let acquire = clocks.complete(&release);
        clocks.acquire(1, u32::MAX, &acquire, true);
        assert!(clocks.knows(40, 3, before));
        assert!(!clocks.knows(40, 3, after));
        // Warp 0 has not acquired yet.
        assert!(!clocks.knows(3, 40, before));
    }

    #[test]
    fn knowledge_passes_through_a_third_warp() {
        let mut clocks = Clocks::new(3, false);
        let access = clocks.now(0);
        for (from, to) in [(0, 1), (1, 2)] {
            let mut release = Release::default();
            clocks.release(from, u32::MAX, &mut release);
            let acquire = clocks.complete(&release);
            clocks.acquire(to, u32::MAX, &acquire, false);
        }
        assert!(clocks.knows(70, 5, access));
    }
}
