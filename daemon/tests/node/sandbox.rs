//! Attempts to get out, by code that may do whatever Node.js can.

use mortise::functions::kind::RunnerKind;

use crate::harness::*;

#[tokio::test]
async fn the_whole_sandbox_is_in_force() {
    let report = pool().probe(RunnerKind::Node).await.expect("a process");
    assert!(report.is_full(), "{report:?}");
}

/// Runs the body of an async function and returns what it threw.
async fn attempt(body: &str) -> String {
    let source = format!(
        "const fs = require('fs'), net = require('net'), os = require('os'); const path = __dirname;
         exports.run = async () => {{ try {{ {body}; return 'done' }} catch (error) {{ return [error.code, error.message] }} }}"
    );
    result(&run(&source).await)
}

#[tokio::test]
async fn nothing_outside_can_be_read_or_written() {
    for body in [
        "fs.readFileSync('/etc/passwd')",
        "fs.readdirSync('/')",
        "fs.readdirSync('/var/lib')",
        "fs.readFileSync('/proc/self/environ')",
        "fs.readFileSync('/proc/self/maps')",
        "fs.readFileSync('/proc/1/cmdline')",
        "fs.readdirSync(path + '/..')",
        "fs.writeFileSync(path + '/new', 'x')",
        "fs.appendFileSync(path + '/index.js', 'x')",
        "fs.mkdirSync(path + '/new')",
        "fs.unlinkSync(path + '/index.js')",
        "fs.writeFileSync('/tmp/mortise-escaped', 'x')",
        "fs.writeFileSync('/dev/shm/mortise-escaped', 'x')",
        "fs.chmodSync(path + '/index.js', 0o777)",
        "fs.symlinkSync('/etc/passwd', path + '/link')",
        "process.kill(process.ppid, 0)",
        "process.kill(1, 'SIGKILL')",
        "process.dlopen({ exports: {} }, '/proc/self/exe')",
    ] {
        let answer = attempt(body).await;
        assert!(
            ["EACCES", "EPERM", "ERR_DLOPEN_FAILED"].iter().any(|it| answer.contains(it)),
            "{body}: {answer}"
        );
    }
    assert_eq!(
        attempt("fs.readFileSync(path + '/index.js'); fs.readdirSync(path)").await,
        "\"done\""
    );
}

#[tokio::test]
async fn what_there_is_not_is_said_clearly() {
    for (body, part) in [
        ("net.createServer().listen(0)", "listening for connections"),
        ("require('http').createServer().listen(8080)", "listening for connections"),
        ("require('dgram').createSocket('udp4')", "sending datagrams"),
        ("require('child_process').execSync('id')", "starting a program"),
        (
            "await require('util').promisify(require('child_process').exec)('id')",
            "starting a program",
        ),
        ("(await import('node:child_process')).spawn('id')", "starting a program"),
        ("new (require('worker_threads').Worker)('1', { eval: true })", "starting a worker thread"),
        (
            "await new Promise((_, no) => net.connect('/run/mortise/mortise.sock').on('error', no))",
            "connecting to a Unix socket",
        ),
        ("require('dns').resolve4('example.com', () => {})", "asking name servers"),
    ] {
        let answer = attempt(body).await;
        assert!(
            answer.contains(part) && answer.contains("the egress rules allow"),
            "{body}: {answer}"
        );
    }
}

/// Past everything that the script put in the way: the kernel's answer, which is EPERM.
#[tokio::test]
async fn the_kernel_refuses_what_the_script_would() {
    for body in [
        "const { TCP } = process.binding('tcp_wrap'); return new TCP(0).bind('127.0.0.1', 0)",
        "const { Pipe } = process.binding('pipe_wrap'); return new Pipe(0).bind(path + '/socket')",
        "return process.binding('spawn_sync').spawn({ file: '/bin/true', args: ['true'], stdio: [{ type: 'ignore' }] }).error",
    ] {
        assert_eq!(attempt(body).await, "-1", "{body}");
    }
}
