//! The file of the control socket: made where only its owner can connect, and found however long its path is.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Its name in the state folder.
pub const NAME: &str = "control.sock";
/// The name that it is made under.
const DRAFT: &str = "control.new";
/// Longest path that an address of a Unix socket holds, in bytes: `sun_path` is 108 with its end.
const LONGEST: usize = 107;

/// The socket's file, removed with this value.
#[derive(Debug)]
pub struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Whoever finds it left over replaces it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Binds the socket of a state folder in place of one that a process left behind. The caller holds the folder's lock.
/// It has its mode before it has its name, so that at no moment others could connect.
pub(super) fn bind(state: &Path) -> io::Result<(UnixListener, Socket)> {
    let (draft, path) = (state.join(DRAFT), state.join(NAME));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = by_short_path(&draft, |short| UnixListener::bind(short))?;
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, &path)?;
    Ok((listener, Socket(path)))
}

/// Connects to the socket of a state folder.
pub(super) async fn connect(state: &Path) -> io::Result<UnixStream> {
    let connected = by_short_path(&state.join(NAME), |short| {
        let stream = std::os::unix::net::UnixStream::connect(short)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    })?;
    UnixStream::from_std(connected)
}

/// A path that is too long for a socket's address leads through the open folder instead.
fn by_short_path<T>(path: &Path, take: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST {
        return take(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return take(path) };
    let folder = File::open(folder)?;
    take(&PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_its_owners_alone_however_long_its_path_and_a_stale_one_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        for state in [folder.path().to_owned(), folder.path().join("x".repeat(200))] {
            fs::create_dir_all(&state).expect("made");
            fs::write(state.join(NAME), "stale").expect("written");
            let (listener, socket) = bind(&state).expect("bound");
            let mode = fs::metadata(state.join(NAME)).expect("there").permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            let (connected, accepted) = tokio::join!(connect(&state), listener.accept());
            connected.expect("connected");
            assert_eq!(
                accepted.expect("accepted").0.peer_cred().expect("known").uid(),
                rustix::process::getuid().as_raw()
            );
            drop(socket);
            assert_eq!(connect(&state).await.expect_err("it is gone").kind(), io::ErrorKind::NotFound);
            assert!(!state.join(DRAFT).exists());
        }
    }
}
