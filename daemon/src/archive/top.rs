//! The folder that forges put around everything: `project-1.2.0/` of GitHub and GitLab, `package/`
//! of npm. Pure. It must never drop a file.

use super::ArchiveFile;

/// What lies at the top of a snap-in. A folder with one of these in it is that top.
const MARKS: [&str; 3] = ["manifest.yaml", "manifest.yml", "package.json"];

/// The files without the one folder that all of them are in, when that folder is a snap-in's top.
/// A folder that only happens to be alone, such as `src/`, stays.
pub fn without_top_folder(mut files: Vec<ArchiveFile>) -> Vec<ArchiveFile> {
    let Some(length) = top_folder(&files).map(str::len) else { return files };
    for file in &mut files {
        // The folder and its slash.
        file.path.drain(..=length);
    }
    files
}

fn top_folder(files: &[ArchiveFile]) -> Option<&str> {
    let (folder, _) = files.first()?.path.split_once('/')?;
    let inside = |file: &ArchiveFile| {
        let rest = file.path.strip_prefix(folder)?.strip_prefix('/')?;
        Some(MARKS.contains(&rest))
    };
    let marked = files.iter().map(inside).collect::<Option<Vec<bool>>>()?;
    marked.contains(&true).then_some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(paths: &[&str]) -> Vec<String> {
        let file = |path: &&str| ArchiveFile {
            path: (*path).to_owned(),
            bytes: Vec::new(),
            executable: false,
        };
        let files = without_top_folder(paths.iter().map(file).collect());
        files.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn the_folder_of_a_forge_goes() {
        assert_eq!(
            stripped(&["hello-1.2.0/manifest.yaml", "hello-1.2.0/src/index.ts"]),
            ["manifest.yaml", "src/index.ts"]
        );
        assert_eq!(stripped(&["package/package.json"]), ["package.json"]);
        assert_eq!(stripped(&["a/a/b.js", "a/manifest.yml"]), ["a/b.js", "manifest.yml"]);
    }

    #[test]
    fn any_other_folder_stays() {
        let same = |paths: &[&str]| assert_eq!(stripped(paths), paths);
        same(&[]);
        same(&["manifest.yaml", "src/index.ts"]);
        same(&["src/index.ts", "src/other.ts"]);
        same(&["a/manifest.yaml", "b/manifest.yaml"]);
        same(&["a/manifest.yaml", "ab/x.js"]);
        same(&["a/b/manifest.yaml", "a/b/src/x.js"]);
        same(&["a/manifest.yaml", "readme"]);
    }
}
