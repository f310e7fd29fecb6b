//! Reads what `strace -f -yy -s 0` wrote: calls with the line where each began and the line where it had returned.
//!
//! Every line is a stop of a traced thread in the order in which strace saw it, and the thread goes on only after strace
//! has written it down. So if one call caused another, through whatever lock or queue, its return stands above the
//! beginning of the other: the order of lines is the order that promise 2 is about. (The times that `-ttt` would print
//! say the same, less exactly.)

use std::collections::HashMap;

/// One system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// What the first argument's descriptor is: a path, `TCP:[127.0.0.1:1->127.0.0.1:2]`; empty without one.
    pub on: String,
    /// The call as written, for messages and for arguments.
    pub text: String,
    /// Number of the line where it began.
    pub begun: usize,
    /// Number of the line where it had returned; `None` if it never did.
    pub ended: Option<usize>,
    /// What it returned; `None` if it never did.
    pub result: Option<i64>,
}

/// The calls that leave bytes, and those that tell where descriptors come from and when files are durable.
pub const CALLS: &str = "trace=connect,openat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,\
                         splice,tee,vmsplice,copy_file_range,io_uring_setup,fsync,fdatasync,sync_file_range";

/// Reads a trace.
pub fn read(text: &str) -> Result<Vec<Call>, String> {
    let mut calls: Vec<Call> = Vec::new();
    let mut open: HashMap<&str, usize> = HashMap::new();
    for (line, written) in text.lines().enumerate() {
        let (thread, rest) = written.split_once(char::is_whitespace).ok_or_else(|| unread(line, written))?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") || rest.starts_with("strace:") {
            continue;
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let place = open.remove(thread).ok_or_else(|| unread(line, written))?;
            let (_, rest) = resumed.split_once(" resumed>").ok_or_else(|| unread(line, written))?;
            calls[place].text.push_str(rest);
            (calls[place].ended, calls[place].result) = (Some(line), result(rest));
        } else {
            let call = begun(line, rest).ok_or_else(|| unread(line, written))?;
            if call.ended.is_none() {
                open.insert(thread, calls.len());
            }
            calls.push(call);
        }
    }
    Ok(calls)
}

fn unread(line: usize, written: &str) -> String {
    format!("line {} of the trace cannot be read: `{written}`", line + 1)
}

fn begun(line: usize, rest: &str) -> Option<Call> {
    let (name, arguments) = rest.split_once('(')?;
    let (text, ended) = match rest.strip_suffix(" <unfinished ...>") {
        Some(text) => (text, None),
        None => (rest, Some(line)),
    };
    let result = ended.and_then(|_| result(arguments));
    Some(Call {
        name: name.to_owned(),
        on: descriptor(arguments).unwrap_or_default().to_owned(),
        text: text.to_owned(),
        begun: line,
        ended,
        result,
    })
}

/// What stands in the `<…>` behind the first argument, if that is a number or AT_FDCWD.
fn descriptor(arguments: &str) -> Option<&str> {
    let (number, rest) = arguments.split_once('<')?;
    if number != "AT_FDCWD" && (number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    // Sockets have an arrow inside their brackets.
    let end = if rest.contains(":[") && rest.split_once(":[")?.0.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        rest.find("]>")? + 1
    } else {
        rest.find('>')?
    };
    Some(&rest[..end])
}

fn result(rest: &str) -> Option<i64> {
    let (_, result) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = "))?;
    let number = result.split(|sign: char| sign != '-' && !sign.is_ascii_digit()).next()?;
    number.parse().ok()
}

#[test]
fn calls_that_others_interrupt_are_put_together() {
    let text = "7  sendto(5<TCP:[127.0.0.1:1->127.0.0.1:2]>, \"\"..., 3, 0, NULL, 0 <unfinished ...>\n\
                8  fdatasync(9</tmp/a/log/0.seg>)       = 0\n\
                7  <... sendto resumed>)             = 3\n\
                8  write(3</tmp/a>, \"\"..., 9)    = -1 EAGAIN (Resource temporarily unavailable)\n\
                8  +++ exited with 0 +++\n";
    let calls = read(text).expect("a trace");
    let seen = calls.iter().map(|call| (call.name.as_str(), call.on.as_str(), call.begun, call.ended, call.result));
    let expected = [
        ("sendto", "TCP:[127.0.0.1:1->127.0.0.1:2]", 0, Some(2), Some(3)),
        ("fdatasync", "/tmp/a/log/0.seg", 1, Some(1), Some(0)),
        ("write", "/tmp/a", 3, Some(3), Some(-1)),
    ];
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}
