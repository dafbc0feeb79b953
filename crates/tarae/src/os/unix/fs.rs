//! What [`std::os::unix::fs`] adds to files.
//!
//! Public. The traits are std's own: the types of [`fs`](crate::fs) implement them.

use std::io;
use std::path::Path;

use crate::offload::Pool;

pub use std::os::unix::fs::{
    DirBuilderExt, DirEntryExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt,
};

/// Makes a symbolic link at `link` that leads to `original`, which need not be there. See
/// [`std::os::unix::fs::symlink`] and [`fs`](crate::fs).
///
/// # Errors
///
/// Those of std's call, and of a [job that was not begun](crate::fs).
///
/// # Examples
///
/// ```
/// let link = std::env::temp_dir().join(format!("tarae-link-{}", std::process::id()));
/// tarae::os::unix::fs::symlink("/proc", &link)?;
/// assert_eq!(tarae::fs::read_link(&link)?, std::path::Path::new("/proc"));
/// tarae::fs::remove_file(&link)?;
/// # std::io::Result::Ok(())
/// ```
pub fn symlink(original: impl AsRef<Path>, link: impl AsRef<Path>) -> io::Result<()> {
    let (original, link) = (original.as_ref(), link.as_ref());
    Pool::Blocking.system_call(|| std::os::unix::fs::symlink(original, link))
}
