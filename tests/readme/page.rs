//! README taken apart: its fenced blocks in their order, and the code in its sentences.

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// What stands behind the opening fence: `sh`, `text`, `json`, `yaml`.
    pub language: String,
    /// What stands between the fences.
    pub text: String,
    /// Line of the opening fence, from 1.
    pub line: usize,
    /// Exit code that a comment before it promises (`<!-- exit: 56 -->`); 0 without one.
    pub exit: i32,
    /// Nothing but blank lines stands between it and the block before it.
    pub follows: bool,
}

/// The fenced blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = page.lines().enumerate();
    let (mut exit, mut follows) = (0, false);
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```"));
            let text: String = inside.map(|line| format!("{line}\n")).collect();
            blocks.push(Block { language: language.to_owned(), text, line: number + 1, exit, follows });
            (exit, follows) = (0, true);
        } else if let Some(code) = line.strip_prefix("<!-- exit: ") {
            exit = code.trim_end_matches(" -->").parse().expect("an exit code");
        } else if !line.is_empty() {
            follows = false;
        }
    }
    blocks
}

/// The code spans of the sentences, those in fenced blocks left out.
pub fn spans(page: &str) -> Vec<String> {
    let mut prose = String::new();
    let mut fenced = false;
    for line in page.lines() {
        match line.starts_with("```") {
            true => fenced = !fenced,
            false if !fenced => prose.extend([line, "\n"]),
            false => {}
        }
    }
    // A span may run over the end of a line; there it has a space.
    prose.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}
