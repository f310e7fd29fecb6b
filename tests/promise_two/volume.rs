//! A real file system of its own, which a test may fill, break and mend: ext4 in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when dropped.
pub struct Volume {
    image: PathBuf,
    mount: PathBuf,
}

impl Volume {
    /// Makes and mounts one of so many bytes at `mount`; prints the reason and gives nothing where that is not allowed.
    pub fn mount(image: PathBuf, mount: PathBuf, bytes: u64) -> Option<Volume> {
        let made = std::fs::File::create(&image).and_then(|file| file.set_len(bytes));
        made.expect("a file for the file system");
        std::fs::create_dir_all(&mount).expect("a place to mount at");
        let volume = Volume { image, mount };
        let mounted = tell("mkfs.ext4", &["-q", "-F", text(&volume.image)]).and_then(|()| volume.attach());
        match mounted {
            Ok(()) => Some(volume),
            Err(why) => {
                eprintln!("skipped: no file system can be mounted here: {why}");
                None
            }
        }
    }

    fn attach(&self) -> Result<(), String> {
        tell("mount", &["-o", "loop,errors=remount-ro", text(&self.image), text(&self.mount)])
    }

    /// Takes all room but `left` bytes; gives the file that takes it.
    pub fn fill(&self, left: u64) -> PathBuf {
        let ballast = self.mount.join("ballast");
        let bytes = self.free() - left;
        tell("fallocate", &["-l", &bytes.to_string(), text(&ballast)]).expect("there is room");
        ballast
    }

    /// Bytes that are free.
    pub fn free(&self) -> u64 {
        let room = rustix::fs::statvfs(&self.mount).expect("a file system");
        room.f_bavail * room.f_frsize
    }

    /// Makes it find an error in itself, and so turn read-only, as a failing disk would.
    pub fn turn_read_only(&self) {
        let source = Command::new("findmnt").args(["-no", "SOURCE", text(&self.mount)]).output().expect("findmnt");
        let source = String::from_utf8_lossy(&source.stdout).trim().replace("/dev/", "");
        let trigger = format!("/sys/fs/ext4/{source}/trigger_fs_error");
        std::fs::write(trigger, "1").expect("the kernel takes an error");
    }

    /// What an operator does: unmount, check, mount again. Nothing may use it.
    pub fn mend(&self) {
        tell("umount", &[text(&self.mount)]).expect("nothing uses it");
        // 1: errors were found and mended.
        let checked = Command::new("e2fsck").args(["-fy", text(&self.image)]).output().expect("e2fsck");
        assert!(checked.status.code().is_some_and(|code| code <= 1), "{checked:?}");
        self.attach().expect("it can be mounted again");
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = tell("umount", &["-l", text(&self.mount)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// Runs a command; gives what it said where it failed.
fn tell(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output().map_err(|fault| format!("{program}: {fault}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
