//! What of one application waits for room. Requests of the same shape wait together: where one finds no room, none of them is tried
//! again until something has become free that it fits.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::ids::ExecutorId;

use super::messages::Request;

#[derive(Debug)]
struct Shape {
    request: Request,
    waiting: BTreeSet<ExecutorId>,
    /// Nothing that was free when it was last tried fits.
    blocked: bool,
}

/// The executors of one application that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    shapes: Vec<Shape>,
    shape_of: BTreeMap<ExecutorId, usize>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.shape_of.len()
    }

    pub(super) fn push(&mut self, executor: ExecutorId, request: Request) {
        let index = self.shapes.iter().position(|shape| shape.request == request).unwrap_or_else(|| {
            // A shape that nobody waits for any more makes room for the next.
            let shape = Shape { request, waiting: BTreeSet::new(), blocked: false };
            match self.shapes.iter().position(|shape| shape.waiting.is_empty()) {
                Some(empty) => {
                    self.shapes[empty] = shape;
                    empty
                }
                None => {
                    self.shapes.push(shape);
                    self.shapes.len() - 1
                }
            }
        });
        self.shapes[index].waiting.insert(executor);
        self.shape_of.insert(executor, index);
    }

    pub(super) fn remove(&mut self, executor: ExecutorId) -> Option<Request> {
        let index = self.shape_of.remove(&executor)?;
        let shape = self.shapes.get_mut(index)?;
        shape.waiting.remove(&executor);
        Some(shape.request.clone())
    }

    /// The first that may be tried, and what it needs.
    pub(super) fn first(&self) -> Option<(ExecutorId, &Request)> {
        let open = self.shapes.iter().filter(|shape| !shape.blocked);
        open.filter_map(|shape| Some((*shape.waiting.first()?, &shape.request)))
            .min_by_key(|(executor, _)| *executor)
    }

    /// Its whole shape found no room.
    pub(super) fn block(&mut self, executor: ExecutorId) {
        if let Some(shape) = self.shape_of.get(&executor).and_then(|index| self.shapes.get_mut(*index)) {
            shape.blocked = true;
        }
    }

    /// Something became free: those that it fits may be tried again. Says whether there are any.
    pub(super) fn unblock(&mut self, fits: impl Fn(&Request) -> bool) -> bool {
        for shape in &mut self.shapes {
            if shape.blocked && !shape.waiting.is_empty() && fits(&shape.request) {
                shape.blocked = false;
            }
        }
        self.first().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_core::manager::Placement;
    use convoke_core::resource::Resources;
    use convoke_core::units::{Cpus, MiB};

    fn request(cpus: u32) -> Request {
        Request {
            need: Resources::new(Cpus::whole(cpus), MiB(1)),
            placement: Placement::default(),
            excluded: Vec::new(),
        }
    }

    #[test]
    fn a_shape_that_finds_no_room_blocks_no_other() {
        let mut waiting = Waiting::default();
        waiting.push(ExecutorId(1), request(8));
        waiting.push(ExecutorId(2), request(8));
        waiting.push(ExecutorId(3), request(1));
        waiting.block(ExecutorId(1));
        assert_eq!(waiting.first().map(|(executor, _)| executor), Some(ExecutorId(3)));
        waiting.remove(ExecutorId(3));
        assert_eq!(waiting.first(), None);
        assert!(!waiting.unblock(|request| request.need.cpus < Cpus::whole(8)));
        assert!(waiting.unblock(|request| request.need.cpus == Cpus::whole(8)));
        assert_eq!(waiting.first().map(|(executor, _)| executor), Some(ExecutorId(1)));
        assert_eq!(waiting.len(), 2);
    }
}
