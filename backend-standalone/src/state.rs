//! The decisions of master and worker: events and the time go in, commands come out. No socket, clock or file is here.

mod client;
mod explain;
mod master;
mod messages;
mod nodes;
mod queue;
mod settings;
mod worker;

pub use client::{Client, ClientAction, ClientEvent};
pub use master::{ApplicationView, Master, WorkerView};
pub use messages::{
    ApplicationCommand, ApplicationEvent, Change, EndCause, Ended, Finished, Key, MasterCommand, MasterEvent,
    Offer, Report, Request, Running, Session, WorkerCommand,
};
pub use nodes::Node;
pub use settings::{MasterSettings, Order, Spread};
pub use worker::{Worker, WorkerAction, WorkerEvent};
