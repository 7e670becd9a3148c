//! Handles by number; numbers of destroyed handles are used again.

pub(super) struct Table<T> {
    slots: Vec<Option<T>>,
    unused: Vec<usize>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table {
            slots: vec![],
            unused: vec![],
        }
    }
}

impl<T: Copy> Table<T> {
    pub fn add(&mut self, handle: T) -> usize {
        match self.unused.pop() {
            Some(at) => {
                self.slots[at] = Some(handle);
                at
            }
            None => {
                self.slots.push(Some(handle));
                self.slots.len() - 1
            }
        }
    }

    /// The handle, which must be in the table.
    pub fn get(&self, at: usize) -> T {
        let handle = self.slots.get(at).copied().flatten();
        handle.unwrap_or_else(|| panic!("bug: handle {at} is not of this driver or was destroyed"))
    }

    /// Takes the handle out of the table.
    pub fn take(&mut self, at: usize) -> T {
        let handle = self.get(at);
        self.slots[at] = None;
        self.unused.push(at);
        handle
    }

    pub fn drain(&mut self) -> impl Iterator<Item = T> {
        self.unused.clear();
        std::mem::take(&mut self.slots).into_iter().flatten()
    }
}
