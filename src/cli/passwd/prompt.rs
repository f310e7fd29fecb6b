//! A line typed on the terminal and not shown.
//!
//! Letters are taken one by one, so that an interruption is noticed at once and the terminal is given back as it was.

use std::io::{self, BufRead, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Longest line, in bytes.
const MOST: usize = 4_096;
/// What Ctrl-C, Ctrl-D, Ctrl-U send, and the two that erase a letter.
const INTERRUPT: u8 = 3;
const END: u8 = 4;
const KILL: u8 = 21;
const ERASE: [u8; 2] = [8, 127];

/// Asks on standard error, and reads from standard input, which must be a terminal.
///
/// # Errors
/// The terminal cannot be read, the line is too long or no UTF-8, or whoever types interrupts.
pub fn unseen(prompt: &str) -> io::Result<String> {
    let terminal = Quiet::begin()?;
    eprint!("{prompt}");
    io::stderr().flush()?;
    let typed = line(io::stdin().lock());
    drop(terminal);
    eprintln!();
    typed
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn begin() -> io::Result<Quiet> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ICANON | LocalModes::ISIG);
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        // What was typed ahead was shown already: it is no password.
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Quiet(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn line(typed: impl BufRead) -> io::Result<String> {
    let mut line: Vec<u8> = Vec::new();
    for byte in typed.bytes() {
        match byte? {
            b'\n' | b'\r' => break,
            END if line.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
            END => break,
            INTERRUPT => return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted")),
            KILL => line.clear(),
            erase if ERASE.contains(&erase) => {
                // A letter of UTF-8 is its first byte and all that continue it.
                while line.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
            }
            _ if line.len() >= MOST => return Err(io::Error::new(io::ErrorKind::InvalidData, "the line is too long")),
            byte => line.push(byte),
        }
    }
    String::from_utf8(line).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is no UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_is_edited_by_letters_and_ended_or_interrupted() {
        let typed = |keys: &str| line(keys.as_bytes()).map_err(|fault| fault.to_string());
        assert_eq!(typed("open sesame\rmore"), Ok("open sesame".to_owned()));
        assert_eq!(typed("opx\u{7f}en\u{8}n\n"), Ok("open".to_owned()));
        assert_eq!(typed("é\u{7f}a\u{7f}\u{7f}b\n"), Ok("b".to_owned()));
        assert_eq!(typed("wrong\u{15}right\u{4}"), Ok("right".to_owned()));
        assert_eq!(typed("half\u{3}"), Err("interrupted".to_owned()));
        assert!(typed("\u{4}").is_err() && typed(&"x".repeat(5_000)).is_err());
    }
}
