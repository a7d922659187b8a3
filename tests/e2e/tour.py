#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Walks docs/tour.md: runs every command that it shows, in order, in one shell, and compares what they print with what the
page says. Times, ports, process numbers and keys may differ; nothing else may.
usage: tour.py BUILD [--write]   (--write: puts what was printed into the page)"""
import difflib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(root / 'tests' / 'lib'))
import guard  # noqa: E402

page = root / 'docs' / 'tour.md'
build = pathlib.Path(sys.argv[1]).resolve()
MARK = '--tour-mark--'

# What differs from run to run, and what it is compared as.
VARIES = [
    (r'127\.0\.0\.1:\d+', 'ADDRESS'),
    (r'\b[0-9a-f]{64}\b', 'KEY'),
    (r'\b\d+(\.\d+)?(ns|us|ms|s)\b', 'TIME'),
    (r'\b\d+ calls/s', 'RATE calls/s'),
    (r'(os_pid|number) +\d+', r'\1 N'),
    (r'\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\b', 'DATE'),
    (r'client:[0-9a-f]{16}', 'CLIENT'),
    (r'\b(ACTIVE|IDLE|SWAPPED|KILLED) +\S+ +(\d+) .*', r'\1 \2 METRICS'),  # they come once a second
    (r'\bdefault +(\S+) +(\S+) .*', r'default \1 \2 USED'),
    (r' +', ' '),
]


def same(text):
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text)
    return text.rstrip()


class Shell:
    """One bash that runs command after command; what each prints, errors too, as a terminal shows it."""

    def __init__(self, folder):
        environment = {'PATH': f'{build}/bin:{os.environ["PATH"]}', 'HOME': str(folder), 'LC_ALL': 'C.UTF-8',
                       'PRAAS': str(root)}
        for name in ('ASAN_OPTIONS', 'UBSAN_OPTIONS', 'TSAN_OPTIONS'):
            if name in os.environ:
                environment[name] = os.environ[name]
        self.home = str(folder)
        self.bash = subprocess.Popen(['bash', '--norc'], cwd=folder, env=environment, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding='utf-8')

    def run(self, command):
        self.bash.stdin.write(f'{command} </dev/null\necho; echo {MARK}\n')
        self.bash.stdin.flush()
        lines = []
        for line in self.bash.stdout:
            if line.rstrip('\n') == MARK:
                break
            lines.append(line)
        text = ''.join(lines).replace(self.home, '~')
        return text[:-1].rstrip('\n') + '\n' if text.strip() else ''

    def close(self):
        self.bash.stdin.close()
        self.bash.wait()


def commands(block):
    """[(lines shown, command)]: a command starts with '$ ' and goes on while lines end in a backslash or a here-document is open."""
    found, lines = [], block.split('\n')
    while lines:
        line = lines.pop(0)
        if not line.startswith('$ '):
            continue
        shown = [line]
        ends = re.search(r"<<'?(\w+)'?", line)
        while lines and (shown[-1].endswith('\\') or (ends and shown[-1] != ends.group(1))):
            shown.append(lines.pop(0))
        found.append(shown)
    return found


def walk(text, shell):
    """The page with what the commands print now."""
    def block(match):
        out = []
        for shown in commands(match.group(1)):
            out += shown
            script = '\n'.join(shown)[2:]
            if '<<' in script:  # standard input is the here-document
                shell.bash.stdin.write(script + '\n')
                script = ':'
            printed = shell.run(script)
            out += printed.rstrip('\n').split('\n') if printed else []
        return '```console\n' + '\n'.join(out) + '\n```'
    return re.sub(r'```console\n(.*?)\n```', block, text, flags=re.S)


guard.ensure()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix='praas-tour-'))
    folder.chmod(0o755)
    shell = Shell(folder)
    old = page.read_text(encoding='utf-8')
    try:
        new = walk(old, shell)
    finally:
        shell.run('praas down >/dev/null 2>&1')
        shell.close()
        shutil.rmtree(folder)
    if '--write' in sys.argv:
        page.write_text(new, encoding='utf-8')
        return 0
    lines_old, lines_new = [same(x) for x in old.split('\n')], [same(x) for x in new.split('\n')]
    differ = list(difflib.unified_diff(lines_old, lines_new, 'docs/tour.md', 'as it is', lineterm=''))
    print('\n'.join(differ) if differ else f'{old.count(chr(10) + "$ ")} commands print what the page says')
    return 1 if differ else 0


sys.exit(main())
