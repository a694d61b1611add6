"""A tree of odd files, a listing of it, and comparisons with the listing. For bench/matrix.

    python3 tree.py make FOLDER FILES MEGABYTES [SEED]    so many files, of so many millions of bytes in all; one of them has a third of the bytes
    python3 tree.py list FOLDER                           a line of JSON for each entry: paths in hexadecimal, times in nanoseconds
    python3 tree.py compare LISTING STAGE FOLDER          the folder against the listing; ends with 1 and names what differs

STAGE says what docs/files.md lets differ:
    same       nothing
    input      in the container: no set-id bits, no devices, fifos and sockets; times before 1970 are 0
    output     what comes out of it: besides, times are in whole seconds

With OLD_LINKS=1 in the environment, symbolic links keep times before 1970: engines before 28 do that.
The listing is made with lstat, readlink and read only: nothing of davit has a part in it.
"""
import collections
import hashlib
import json
import os
import random
import socket
import stat
import sys

OLD_LINKS = os.environ.get('OLD_LINKS', '0')
SPECIALS = b'specials'
TIMES = [0, 1, -1, -1_500_000_000, -2_000_000_000_123_456_789, 999_999_999, 1_000_000_000_000_000_001, 2**31 * 10**9 + 7,
         2**32 * 10**9 + 1, 8_600_000_000_999_999_999, 1_600_000_000_100_000_000, 946_684_799_999_999_999]
MODES = [0o644, 0o755, 0o600, 0o400, 0o000, 0o111, 0o777, 0o666, 0o444, 0o1644, 0o4755, 0o2755, 0o6711, 0o7777, 0o070, 0o007]
SIZES = [0, 0, 1, 2, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 10239, 10240, 10241, 65535, 65536, 65537, 262143, 262144, 262145]
NAMES = [
    'ä', 'a\u0308', 'ﬁ', 'é\u200b', '\u202egnp.exe', '日本語', '𝒳🙂👩\u200d👩\u200d👧', 'ÿ'.upper(), 'K', '\ufeffbom', '\u00a0',
    ' ', '  two', 'trailing ', '\t', 'line\nbreak', '\n', '\r', 'bell\a', '\x1b[31mred', '\x7f', '\x01',
    '-rf', '--', '-', '...', '..a', '.hidden', '~', '$HOME', '`id`', '$(id)', "it's", '"', '\\', 'a\\b', '\\n', '*', '?', '[a]', '{a,b}', '!', '#', '%2e%2e', '%s',
    'a=b', '17 path=x', 'a:b', ':', 'x:', 'C:', '|', ';', '&', '<', '>', '@', '+', ',', '^', 'CON', 'nul.txt', 'name.', 'x.tar.gz',
    '.wh.file', '.wh..wh..opq', '.dockerignore', '.git', '.davit-abcdef', 'GNUSparseFile.0', 'PaxHeaders.1', '@LongLink', 'lost+found', 'incoming',
]
BYTES = [b'\xff', b'\xfe\xff', b'latin-\xe4', b'\xc3', b'\xed\xa0\x80', b'\xf8\x88\x80\x80\x80', b'\x80' * 100]
LONGEST = [b'l' * 255, ('ü' * 127 + 'x').encode(), ('日' * 85).encode(), b' ' * 255, b'\n' * 255, b'.' * 255, b'\xff' * 255, b'-' + b'9' * 254, b'l' * 254 + b'm']


class Maker:
    def __init__(self, folder, seed):
        self.top = os.fsencode(folder)
        self.random = random.Random(seed)
        self.files = self.bytes = 0
        self.folders = []
        os.mkdir(self.top)

    def folder(self, path):
        os.mkdir(os.path.join(self.top, path))
        self.folders.append(path)
        return path

    def content(self, size):
        """Some can be compressed, some not, and some are the same for many files."""
        way = self.random.randrange(4)
        if way == 0:
            return (b'the same for many files\n' * (size // 24 + 1))[:size]
        if way == 1:
            return bytes(size)
        return self.random.randbytes(size)

    def file(self, path, content):
        with open(os.path.join(self.top, path), 'xb') as file:
            file.write(content)
        self.count(len(content))

    def count(self, size):
        self.files += 1
        self.bytes += size

    def large(self, path, size, step=16 << 20):
        with open(os.path.join(self.top, path), 'xb') as file:
            for at in range(0, size, step):
                file.write(self.random.randbytes(min(step, size - at)))
        self.count(size)

    def sparse(self, path, size, parts):
        with open(os.path.join(self.top, path), 'xb') as file:
            file.truncate(size)
            for at, length in parts:
                file.seek(at)
                file.write(self.random.randbytes(length))
        self.count(size)

    def hard_link(self, source, path):
        os.link(os.path.join(self.top, source), os.path.join(self.top, path))
        self.files += 1

    def symlink(self, target, path):
        os.symlink(target, os.path.join(self.top, path))
        self.files += 1

    def date(self):
        """Modes, and times last: what is made in a folder changes its time."""
        entries = []
        for path, status in walk(self.top):
            entries.append((path, status.st_mode, status.st_ino))
        times = {}
        for path, mode, inode in reversed(entries):
            full = os.path.join(self.top, path)
            if inode not in times:
                few = self.random.randrange(8) == 0
                times[inode] = self.random.choice(TIMES) if few else self.random.randrange(0, 2_000_000_000) * 10**9 + self.random.randrange(10**9)
                if stat.S_ISREG(mode):
                    os.chmod(full, self.random.choice(MODES) if few else self.random.choice([0o644, 0o644, 0o755, 0o600]))
                elif stat.S_ISDIR(mode):
                    os.chmod(full, self.random.choice([0o755, 0o700, 0o555, 0o000, 0o1777, 0o2775, 0o4755, 0o111]) if few else 0o755)
            os.utime(full, ns=(times[inode], times[inode]), follow_symlinks=False)


def odd_files(make):
    make.folder(b'names')
    for number, name in enumerate([name.encode() for name in NAMES] + BYTES + LONGEST):
        make.file(b'names/' + name, b'file %d\n' % number)
    make.folder(b'folders')
    for name in [name.encode() for name in NAMES] + BYTES + LONGEST:
        make.folder(b'folders/' + name)
        if make.random.randrange(2):
            make.file(b'folders/' + name + b'/' + make.random.choice(LONGEST), make.content(100))
    # As deep as a tree may be that comes out of a folder: with it, the last file has 128 parts.
    path = make.folder(b'deep')
    for level in range(125):
        path = make.folder(path + b'/' + (b'%03d' % level) + b'd' * 20)
    make.file(path + b'/last', b'at the bottom')
    path = make.folder(b'long')
    for level in range(12):
        path = make.folder(path + b'/' + b'%02d' % level + ('ö' * 126).encode())
    make.file(path + b'/' + b'e' * 255, b'at the end')
    make.folder(b'sizes')
    for number, size in enumerate(SIZES):
        make.file(b'sizes/%02d-%d' % (number, size), make.random.randbytes(size))
    make.folder(b'modes')
    for mode in MODES:
        make.file(b'modes/%04o' % mode, b'%04o' % mode)
    odd_links(make)
    make.folder(b'sparse')
    make.sparse(b'sparse/all', 3_000_000, [])
    make.sparse(b'sparse/begin', 2 << 20, [(1 << 20, 4096)])
    make.sparse(b'sparse/end', 1_000_001, [(0, 5000)])
    make.sparse(b'sparse/many', 4 << 20, [(at << 16, 5000) for at in range(0, 64, 3)])
    make.folder(SPECIALS)
    os.mkfifo(os.path.join(make.top, SPECIALS, b'fifo'))
    with socket.socket(socket.AF_UNIX) as one:
        here = os.getcwd()
        os.chdir(os.path.join(make.top, SPECIALS))
        one.bind('socket')
        os.chdir(here)


def odd_links(make):
    make.folder(b'links')
    make.folder(b'links/to')
    make.file(b'links/to/file', b'a file that links lead to')
    for number, target in enumerate([b'to/file', b'to', b'./to/../to/file', b'/etc/passwd', b'/', b'..', b'.', b'../../../../../..', b'nowhere', b'4000/' + b't' * 3995, b'4', b'to/',
                                     'zü ☃'.encode(), b'with\nbreak', b'\xff\xfe', b' ', b't' * 100, b't' * 101, b'a=b', b'../links/to/file']):
        make.symlink(target, b'links/%02d' % number)
    make.symlink(b'self', b'links/self')
    make.folder(b'hard')
    make.folder(b'hard/a')
    make.folder(b'hard/z')
    make.file(b'hard/z/first-made', b'three names in three folders')
    make.hard_link(b'hard/z/first-made', b'hard/a/second-made')
    make.hard_link(b'hard/z/first-made', b'hard/middle')
    make.file(b'hard/empty', b'')
    make.hard_link(b'hard/empty', b'hard/a/empty, too')
    make.file(b'hard/' + b'n' * 255, make.random.randbytes(100_000))
    make.hard_link(b'hard/' + b'n' * 255, b'hard/z/' + ('ñ' * 127).encode())
    make.sparse(b'hard/sparse', 1 << 20, [(600_000, 1)])
    make.hard_link(b'hard/sparse', b'hard/a/sparse')
    make.file(b'hard/hundred', b'a hundred names')
    for number in range(99):
        make.hard_link(b'hard/hundred', b'hard/a/%d' % number)


def make(folder, files, megabytes, seed=1):
    files, size = int(files), int(megabytes) * 10**6
    make = Maker(folder, int(seed))
    odd_files(make)
    make.large(b'large', size // 3)
    make.folder(b'many')
    plain = [b'many']
    while make.files < files:
        left = files - make.files
        if len(plain) * 60 < make.files:
            plain.append(make.folder(make.random.choice(plain[-40:]) + b'/' + b'd%d' % len(plain)))
            make.folder(plain[-1] + b'/empty')
        name = make.random.choice([b'%d', b'%d.txt', b'a file %d', 'datei-ü-%d'.encode(), b'%d-' + b'x' * 90]) % make.files
        kind = make.random.randrange(20)
        mean = max(0, size - make.bytes) // left
        path = make.random.choice(plain) + b'/' + name
        if kind == 0 and left > 1:
            make.file(path, make.content(make.random.choice(SIZES)))
            make.hard_link(path, make.random.choice(plain) + b'/' + name + b'.link')
        elif kind == 1:
            make.symlink(make.random.choice([b'../' + name, b'/' + name, make.random.choice(plain)]), path)
        elif kind == 2:
            make.file(path, make.random.randbytes(make.random.choice(SIZES)))
        elif left == 1:
            make.file(path, make.random.randbytes(mean))
        else:
            make.file(path, make.content(min(int(make.random.expovariate(1 / (mean + 1))), size - make.bytes if size > make.bytes else 0)))
    make.date()
    print(json.dumps({'files': make.files, 'folders': len(make.folders), 'bytes': make.bytes}))


def walk(top, below=b''):
    """All entries below a folder, a folder before what is in it."""
    with os.scandir(os.path.join(top, below)) as names:
        entries = sorted((one.name, one.stat(follow_symlinks=False)) for one in names)
    for name, status in entries:
        path = below + b'/' + name if below else name
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from walk(top, path)


def digest(path):
    hasher = hashlib.sha256()
    with open(path, 'rb', buffering=0) as file:
        while piece := file.read(1 << 20):
            hasher.update(piece)
    return hasher.hexdigest()


KINDS = {stat.S_IFREG: 'file', stat.S_IFDIR: 'folder', stat.S_IFLNK: 'symlink'}


def holes(path, size):
    found, at = [], 0
    with open(path, 'rb') as file:
        while at < size:
            at = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            if at >= size:
                break
            try:
                end = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError: # no more data
                end = size
            found.append([at, end - at])
            at = end
    return found


def listing(folder):
    """A dictionary for each entry. `group`: the first of a file's names by its bytes, if it has several in the folder."""
    top = os.fsencode(folder)
    entries, names = [], {}
    for path, status in walk(top):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), 'special')
        entry = {'path': path.hex(), 'kind': kind, 'mode': stat.S_IMODE(status.st_mode), 'time': str(status.st_mtime_ns)}
        full = os.path.join(top, path)
        if kind == 'symlink':
            entry['target'] = os.readlink(full).hex()
        elif kind == 'file':
            entry['size'] = status.st_size
            entry['holes'] = holes(full, status.st_size) if status.st_blocks * 512 < status.st_size else []
            if status.st_nlink > 1:
                names.setdefault((status.st_dev, status.st_ino), []).append(entry)
            if len(names.get((status.st_dev, status.st_ino), [])) > 1:
                entry['sha256'] = names[status.st_dev, status.st_ino][0]['sha256']
            else:
                entry['sha256'] = digest(full)
        entries.append(entry)
    for group in names.values():
        if len(group) > 1:
            for entry in group:
                entry['group'] = min(one['path'] for one in group)
    return entries


def expected(entry, stage):
    """What the entry is at this stage; None: it is not there."""
    entry = dict(entry)
    entry.pop('holes', None)
    if stage == 'same':
        return entry
    if entry['kind'] == 'special':
        return None
    time = int(entry['time'])
    if entry['kind'] != 'symlink':
        entry['mode'] &= 0o1777
    if entry['kind'] != 'symlink' or OLD_LINKS == '0':
        time = max(0, time)
    if stage == 'output':
        time -= time % 10**9
    entry['time'] = str(time)
    return entry


def shown(key, value):
    return oct(value) if key == 'mode' and value is not None else str(value)[:100]


def compare(oracle, stage, folder):
    with open(oracle) as lines:
        entries = [expected(json.loads(line), stage) for line in lines]
    wanted = {one['path']: one for one in entries if one}
    found = {one['path']: one for one in (expected(one, 'same') for one in listing(folder))}
    faults, kinds = [], collections.Counter()
    for path in sorted(wanted.keys() | found.keys()):
        name = repr(bytes.fromhex(path))
        name = name if len(name) < 200 else name[:40] + '...' + name[-150:]
        if path not in found:
            kinds['missing'] += 1
            faults.append(name + ': is missing')
        elif path not in wanted:
            kinds['not expected'] += 1
            faults.append(name + ': should not be there')
        else:
            for key in sorted(wanted[path].keys() | found[path].keys()):
                one, other = wanted[path].get(key), found[path].get(key)
                if one != other:
                    kinds[key] += 1
                    faults.append('%s: %s is %s, and should be %s' % (name, key, shown(key, other), shown(key, one)))
    for fault in faults[:5]:
        print(fault)
    if faults:
        print('differences in %d entries: %s' % (len(wanted), ', '.join('%d %s' % (count, kind) for kind, count in kinds.items())))
    sys.exit(1 if faults else 0)


if __name__ == '__main__':
    command, words = sys.argv[1], sys.argv[2:]
    if command == 'make':
        make(*words)
    elif command == 'list':
        for each in listing(*words):
            print(json.dumps(each))
    elif command == 'compare':
        compare(*words)
    else:
        sys.exit(__doc__)
