//! Random schedules against the scheduler.
