//! Where a store is: the NameNode, the directory, and how objects are named below it.

use object_store::path::Path;
use url::Url;

use super::failure::Failure;

/// What stands between an object's name and what tells its writers apart, in the name of a file that is being written.
/// No object's name has it: [`Path`] encodes it.
const WRITING: char = '#';

/// What a URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// `hdfs://host:port`.
    pub(super) namenode: String,
    /// The store's directory, with a slash at the beginning and none at the end: empty for all of HDFS.
    pub(super) root: String,
    /// Whether files are the objects of this program, whose names have no [`WRITING`], or anybody's.
    pub(super) is_ours: bool,
}

impl Place {
    /// The directory that `url` names. What is wrong with it is said as it continues "can't be used as storage:".
    pub(super) fn parse(url: &Url) -> Result<Place, String> {
        let place = Place::parse_any(url)?;
        match place.root.is_empty() {
            true => Err("it names no directory; give hdfs://host:port/directory".to_owned()),
            false => Ok(Place { is_ours: true, ..place }),
        }
    }

    /// The same, which may be all of HDFS, with everybody's files.
    pub(super) fn parse_any(url: &Url) -> Result<Place, String> {
        let right = "give hdfs://host:port/directory";
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| format!("it names no host; {right}"))?;
        let port = url.port().ok_or_else(|| {
            format!("it names no port; {right} with the port of the NameNode's RPC, often 8020 or 9000")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(format!("HDFS takes the user from the environment, HADOOP_USER_NAME; {right}"));
        }
        if let Some(more) = url.query().or(url.fragment()) {
            return Err(format!("{more:?} is no option of it; {right}"));
        }
        let path = Path::from_url_path(url.path()).map_err(|error| format!("{error}; {right}"))?;
        let root = if path.is_root() { String::new() } else { format!("/{path}") };
        Ok(Place { namenode: format!("hdfs://{host}:{port}"), root, is_ours: false })
    }

    /// The file of an object, or the directory of objects.
    pub(super) fn file(&self, path: &Path) -> String {
        match (path.is_root(), self.root.is_empty()) {
            (true, true) => "/".to_owned(),
            (true, false) => self.root.clone(),
            (false, _) => format!("{}/{path}", self.root),
        }
    }

    /// The object of a file; none if it is none of ours: it is being written, or was when its writer died, or is somebody
    /// else's. Of files that are anybody's none may be left out: one that can't be named is an error.
    pub(super) fn object(&self, file: &str) -> Result<Option<Path>, Failure> {
        let below = file.strip_prefix(&self.root).and_then(|rest| rest.strip_prefix('/'));
        let path = below.and_then(|below| Path::parse(below).ok().filter(|path| path.as_ref() == below));
        match (path, self.is_ours) {
            (None, false) => Err(Failure::Refused("its name can't be used; rename it".to_owned())),
            (path, _) => Ok(path.filter(|path| !self.is_ours || !path.as_ref().contains(WRITING))),
        }
    }

    /// A name for `file` while it is written, which nobody else uses.
    pub(super) fn writing(file: &str) -> Result<String, getrandom::Error> {
        Ok(format!("{file}{WRITING}{:016x}", getrandom::u64()?))
    }

    /// `file` as a person would name it.
    pub(super) fn shown(&self, file: &str) -> String {
        format!("{}{file}", self.namenode)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(url: &str) -> Result<Place, String> {
        Place::parse(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_names_a_namenode_and_a_directory() {
        let place = place("hdfs://node-1:8020/user/ann/a%20b/").unwrap();
        assert_eq!((&*place.namenode, &*place.root), ("hdfs://node-1:8020", "/user/ann/a b"));
        assert_eq!(place.file(&Path::default()), "/user/ann/a b");
        let path = Path::from("jobs/job_7/spec");
        assert_eq!(place.file(&path), "/user/ann/a b/jobs/job_7/spec");
        assert_eq!(place.object("/user/ann/a b/jobs/job_7/spec").unwrap(), Some(path));
        assert_eq!(place.shown("/x"), "hdfs://node-1:8020/x");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (url, missing) in [
            ("hdfs:///data", "no host"),
            ("hdfs://namenode/data", "no port"),
            ("hdfs://namenode:8020", "no directory"),
            ("hdfs://namenode:8020/", "no directory"),
            ("hdfs://ann@namenode:8020/data", "HADOOP_USER_NAME"),
            ("hdfs://namenode:8020/data?sync=no", "no option"),
            ("hdfs://namenode:8020/data#x", "no option"),
        ] {
            let error = place(url).unwrap_err();
            assert!(
                error.contains(missing) && error.contains("hdfs://host:port/directory"),
                "{url}: {error}"
            );
        }
    }

    #[test]
    fn files_that_are_being_written_are_no_objects() {
        let place = place("hdfs://n:1/data").unwrap();
        let file = place.file(&Path::from("a/b"));
        let (one, other) = (Place::writing(&file).unwrap(), Place::writing(&file).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.rsplit_once('/').unwrap().0, "/data/a");
        for file in [&one, &other, "/data", "/database/x", "/else/x"] {
            assert_eq!(place.object(file).unwrap(), None, "{file}");
        }
        // Not even an object whose name was meant to look like one.
        assert!(!Path::from("a/b#1").as_ref().contains(WRITING));
    }
    #[test]
    fn of_anybodys_files_none_is_left_out() {
        let all = Place::parse_any(&Url::parse("hdfs://n:1").unwrap()).unwrap();
        assert_eq!((&*all.file(&Path::default()), &*all.file(&Path::from("a/b"))), ("/", "/a/b"));
        assert_eq!(all.object("/data/report#2").unwrap(), Some(Path::parse("data/report#2").unwrap()));
        assert!(all.object("/data/a\tb").is_err());
    }
}
