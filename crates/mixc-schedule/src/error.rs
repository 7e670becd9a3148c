//! Why there is no schedule.

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScheduleError {
    /// The program is fine, but the scheduler has no kernel structure for it.
    #[error("no schedule for {what}")]
    Unsupported { what: String },
    #[error("bug: {what}")]
    Internal { what: String },
}

impl ScheduleError {
    pub fn unsupported(what: String) -> ScheduleError {
        ScheduleError::Unsupported { what }
    }

    pub fn internal(what: String) -> ScheduleError {
        ScheduleError::Internal { what }
    }
}
