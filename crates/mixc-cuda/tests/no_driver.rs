//! A machine without the driver library, or with all cards hidden, gives errors.

use mixc_cuda::{CudaError, devices, is_present, open};

#[test]
fn asking_never_panics() {
    match (is_present(), devices(), open(0).err()) {
        (false, Err(CudaError::NoDriver), Some(CudaError::NoDriver)) => (),
        (true, Ok(cards), None) => assert!(!cards.is_empty()),
        (true, Err(error), Some(_)) => assert!(error.is_lack_of_machine(), "{error}"),
        (present, devices, opened) => panic!("{present} {devices:?} {opened:?}"),
    }
    if let Ok(cards) = devices() {
        let index = cards.len();
        assert!(
            matches!(open(index), Err(CudaError::NoSuchDevice { count, .. }) if count == index)
        );
    }
}
