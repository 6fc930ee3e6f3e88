//! Tasks by integer id, and the lists that they stand in. A task stands in one list at a time, so its links live in
//! the task itself and moving it allocates nothing.

use super::Arguments;
use crate::ids::{ExecutorId, TaskId};

pub(super) const NONE: u32 = u32::MAX;

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: the entry is free.
    Free,
    /// In its job's queue.
    Queued,
    /// In its pool's list of tasks to try again elsewhere.
    Again,
    /// In its pool's list of suspects, which run with nothing beside them that could be blamed.
    Suspect,
    /// At the executor with this index.
    Sent(u32),
}

#[derive(Debug)]
pub(super) struct Task {
    generation: u32,
    previous: u32,
    next: u32,
    pub(super) place: Place,
    pub(super) job: u32,
    pub(super) function: u32,
    /// The fence: counts sendings. A returned attempt is sent again under its number, since it never began.
    pub(super) attempt: u32,
    pub(super) failed: u16,
    pub(super) lost: u16,
    /// 0: above suspicion; 1: was in flight when an executor died of the application's doing; 2: once more.
    pub(super) suspicion: u8,
    pub(super) position: u64,
    /// Where it failed last; it goes elsewhere where there is an elsewhere.
    pub(super) avoid: Option<ExecutorId>,
    pub(super) arguments: Arguments,
}

/// A doubly linked list of tasks.
#[derive(Debug, Clone, Copy)]
pub(super) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl Default for List {
    fn default() -> List {
        List { head: NONE, tail: NONE, len: 0 }
    }
}

impl List {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }
}

#[derive(Debug, Default)]
pub(super) struct Table {
    tasks: Vec<Task>,
    free: List,
    /// Entries made from now on begin with this generation.
    floor: u32,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.tasks.len() - self.free.len()
    }

    pub(super) fn insert(&mut self, job: u32, position: u64, function: u32, arguments: Arguments) -> u32 {
        if let Some(index) = self.free.front() {
            let mut free = self.free;
            self.unlink(&mut free, index);
            self.free = free;
            let task = &mut self.tasks[index as usize];
            *task = Task { generation: task.generation, ..Task::new(job, position, function, arguments) };
            return index;
        }
        let index = self.tasks.len() as u32;
        let task = Task::new(job, position, function, arguments);
        self.tasks.push(Task { generation: self.floor, ..task });
        index
    }

    /// Frees an entry that stands in no list; answers its argument's blob.
    pub(super) fn remove(&mut self, index: u32) -> Option<u64> {
        let task = &mut self.tasks[index as usize];
        task.generation = task.generation.wrapping_add(1);
        task.place = Place::Free;
        let arguments = std::mem::replace(&mut task.arguments, Arguments::Inline(bytes::Bytes::new()));
        let mut free = self.free;
        self.push_front(&mut free, index);
        self.free = free;
        // A burst leaves no memory behind once all is done.
        if self.free.len() == self.tasks.len() && self.tasks.capacity() > 65_536 {
            let generation = self.tasks.iter().map(|task| task.generation).max().unwrap_or(0);
            self.reset(generation);
        }
        match arguments {
            Arguments::Inline(_) => None,
            Arguments::Blob { blob, .. } => Some(blob),
        }
    }

    /// Gives the memory back; ids that were given stay stale, as all generations go on from the highest.
    fn reset(&mut self, generation: u32) {
        let kept = 1024;
        self.floor = generation;
        self.tasks.truncate(kept);
        self.tasks.shrink_to(kept);
        self.free = List::default();
        for task in &mut self.tasks {
            task.generation = generation;
        }
        let mut free = List::default();
        for index in 0..self.tasks.len() as u32 {
            self.push_back(&mut free, index);
        }
        self.free = free;
    }

    pub(super) fn id(&self, index: u32) -> TaskId {
        TaskId(u64::from(self.tasks[index as usize].generation) << 32 | u64::from(index))
    }

    pub(super) fn find(&self, id: TaskId) -> Option<u32> {
        let index = (id.0 & u64::from(u32::MAX)) as u32;
        let task = self.tasks.get(index as usize)?;
        (u64::from(task.generation) == id.0 >> 32 && task.place != Place::Free).then_some(index)
    }

    /// All tasks of one job, wherever they are. Walks the table.
    pub(super) fn of_job(&self, job: u32) -> Vec<u32> {
        let of_job = |(index, task): (usize, &Task)| {
            (task.place != Place::Free && task.job == job).then_some(index as u32)
        };
        self.tasks.iter().enumerate().filter_map(of_job).collect()
    }

    pub(super) fn next(&self, index: u32) -> Option<u32> {
        let next = self.tasks[index as usize].next;
        (next != NONE).then_some(next)
    }

    pub(super) fn push_back(&mut self, list: &mut List, index: u32) {
        self.tasks[index as usize].previous = list.tail;
        self.tasks[index as usize].next = NONE;
        match list.tail {
            NONE => list.head = index,
            tail => self.tasks[tail as usize].next = index,
        }
        list.tail = index;
        list.len += 1;
    }

    pub(super) fn push_front(&mut self, list: &mut List, index: u32) {
        self.tasks[index as usize].previous = NONE;
        self.tasks[index as usize].next = list.head;
        match list.head {
            NONE => list.tail = index,
            head => self.tasks[head as usize].previous = index,
        }
        list.head = index;
        list.len += 1;
    }

    pub(super) fn unlink(&mut self, list: &mut List, index: u32) {
        let Task { previous, next, .. } = self.tasks[index as usize];
        match previous {
            NONE => list.head = next,
            previous => self.tasks[previous as usize].next = next,
        }
        match next {
            NONE => list.tail = previous,
            next => self.tasks[next as usize].previous = previous,
        }
        list.len -= 1;
    }
}

impl std::ops::Index<u32> for Table {
    type Output = Task;
    fn index(&self, index: u32) -> &Task {
        &self.tasks[index as usize]
    }
}

impl std::ops::IndexMut<u32> for Table {
    fn index_mut(&mut self, index: u32) -> &mut Task {
        &mut self.tasks[index as usize]
    }
}

impl Task {
    fn new(job: u32, position: u64, function: u32, arguments: Arguments) -> Task {
        Task {
            generation: 0,
            previous: NONE,
            next: NONE,
            place: Place::Queued,
            job,
            function,
            attempt: 0,
            failed: 0,
            lost: 0,
            suspicion: 0,
            position,
            avoid: None,
            arguments,
        }
    }
}
