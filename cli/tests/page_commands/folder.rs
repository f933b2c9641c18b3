//! A folder in which commands of the pages run: with the programs that they name, and with a place of its own for each
//! folder of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;
use testbed::{CertificateAuthority, SubjectAltName, read_yaml, run_program};

/// Folders of the machine that pages name.
const PLACES: [&str; 4] = ["/etc/sallyport", "/run/sallyport-metrics", "/srv/policies", "/var/lib/sallyport"];

/// Adds to `render` where modules and certificates are, and free ports.
const SALLYPORT: &str = r#"#!/bin/bash
case " $* " in
*" bootstrap "*) set -- "$@" --modules MODULES --certificates FOLDER/certificates --listen 127.0.0.1:0 --admin 127.0.0.1:0 ;;
*" render "*) set -- "$@" --modules MODULES ;;
esac
exec COMMAND "$@"
"#;

/// Stops once Envoy serves and the filter is loaded.
const ENVOY: &str = r#"#!/bin/bash
case " $* " in *" validate "*) exec ENVOY "$@" --use-dynamic-base-id ;; esac
ENVOY "$@" --use-dynamic-base-id --concurrency 1 2>envoy.log &
until grep -q "starting main dispatch loop" envoy.log && grep -q "identity_authz: loaded" envoy.log; do
  kill -0 $! || { cat envoy.log; exit 1; }
  sleep 0.1
done
kill $!
wait
"#;

/// Prints the policies of a cluster.
const KUBECTL: &str = "#!/bin/bash\ncat FOLDER/cluster.json\n";

/// A copy of a folder beside this file, and what commands need around it.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(name: &str) -> Result<Self> {
        testbed::build_filters()?;
        let folder = Self(tempfile::tempdir()?);
        let mut items = Vec::new();
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page_commands").join(name).join("policies");
        for entry in fs::read_dir(&policies).with_context(|| name.to_owned())? {
            let entry = entry?;
            let text = fs::read_to_string(entry.path())?;
            folder.write(&format!("policies/{}", entry.file_name().display()), &text)?;
            items.push(read_yaml(&text)?);
        }
        folder.write("cluster.json", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
        let envoy = testbed::envoy_binary()?.display().to_string();
        for (program, text) in [("sallyport", SALLYPORT), ("envoy", ENVOY), ("kubectl", KUBECTL)] {
            let text = text
                .replace("ENVOY", &envoy)
                .replace("COMMAND", env!("CARGO_BIN_EXE_sallyport"))
                .replace("MODULES", &testbed::root().join("dist").display().to_string())
                .replace("FOLDER", &folder.0.path().display().to_string());
            folder.write(&format!("bin/{program}"), &text)?;
            fs::set_permissions(folder.0.path().join("bin").join(program), fs::Permissions::from_mode(0o755))?;
        }
        folder.add_certificates()?;
        folder.add_repository()?;
        Ok(folder)
    }

    /// Writes a file, with the folders that it is in.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().context("no folder")?)?;
        Ok(fs::write(path, text)?)
    }

    fn add_certificates(&self) -> Result<()> {
        let authority = CertificateAuthority::new("trusted")?;
        self.write("certificates/trusted.pem", authority.pem())?;
        let server = authority.issue(&[SubjectAltName::Dns("localhost".to_owned())])?;
        server.write(&self.0.path().join("certificates"), "workload").map(drop)
    }

    /// Makes the policies a repository, which is what git finds under the address of the pages.
    fn add_repository(&self) -> Result<()> {
        let root = self.0.path().display().to_string();
        let origin = format!("[url \"file://{root}/repository\"]\n  insteadOf = https://git.example/policies\n");
        self.write(".gitconfig", &format!("{origin}[user]\n  name = author\n  email = author@shop.example\n"))?;
        let make = "cp -r policies repository && cd repository && git init --quiet && git add . && git commit --quiet -m first";
        let (status, printed) = self.run(make, None)?;
        ensure!(status == 0, "{printed}");
        Ok(())
    }

    /// Runs commands. Returns the exit status and all that they printed. Where the last one does not end, `endless` is the
    /// file that it writes.
    pub(crate) fn run(&self, commands: &str, endless: Option<&str>) -> Result<(i32, String)> {
        let root = self.0.path().display().to_string();
        let mut script = format!("set -e\n{commands}");
        if let Some(file) = endless {
            script = format!("(\n{script}\n) &\nuntil [ -e {file} ]; do kill -0 $! || exit 1; sleep 0.1; done");
        }
        for place in PLACES {
            script = script.replace(place, &format!("{root}{place}"));
        }
        let wrapped = format!("export PATH={root}/bin:$PATH\nbash -c \"$1\"\necho \"exit status $?\"");
        let printed = run_program("bash", &["-c", &wrapped, "bash", &script], "", self.0.path())?;
        let (printed, status) = match printed.output.rsplit_once("exit status ") {
            Some((output, status)) => (format!("{output}{}", printed.errors), status.trim().parse()?),
            None => anyhow::bail!("{}", printed.all()),
        };
        Ok((status, printed.replace(&root, "")))
    }
}
