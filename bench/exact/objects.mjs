// Reads all objects that davit has written, without davit: from a bucket with the AWS SDK, or from the folder of an agent. For bench/matrix.
//
//   node objects.mjs create BUCKET
//   node objects.mjs check BUCKET/PREFIX|FOLDER LISTING STAGE...
//
// A pack must be of the length that its store lists, its index must have its digest, and each blob its own (blobs/pack.hpp). A manifest (blobs/manifest.hpp) must name no blob that no pack has. For each STAGE
// some manifest must be exactly the listing of tree.py: `sent` (what davit run has read) or `output` (what came out of a container). Ends with 1 and names what is wrong.
//
// With OLD_LINKS=1 symbolic links keep times before 1970, as in tree.py. MODULES is the folder of node_modules, ENDPOINT the server; the credentials are AWS's own variables.
import { createHash } from 'node:crypto'
import { createReadStream, readFileSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const faults = []
const fault = text => faults.push(text)
const sha256 = bytes => createHash('sha256').update(bytes).digest('hex')
const number = (bytes, at) => Number(bytes.readBigUInt64LE(at))

// Two places that list objects and give ranges of their bytes, `to` included.
function bucket(name, prefix) {
  const { S3Client, CreateBucketCommand, ListObjectsV2Command, GetObjectCommand } = createRequire(join(process.env.MODULES, 'x'))('@aws-sdk/client-s3')
  const s3 = new S3Client({ endpoint: process.env.ENDPOINT, region: 'us-east-1', forcePathStyle: true, requestChecksumCalculation: 'WHEN_REQUIRED', responseChecksumValidation: 'WHEN_REQUIRED' })
  return {
    create: () => s3.send(new CreateBucketCommand({ Bucket: name })),
    async list() {
      const objects = []
      let token
      do {
        const page = await s3.send(new ListObjectsV2Command({ Bucket: name, Prefix: prefix + '/', ContinuationToken: token }))
        for (const one of page.Contents ?? []) objects.push({ key: one.Key.slice(prefix.length + 1), size: one.Size })
        token = page.NextContinuationToken
      } while (token)
      return objects
    },
    async read(key, from, to) {
      const answer = await s3.send(new GetObjectCommand({ Bucket: name, Key: prefix + '/' + key, Range: `bytes=${from}-${to}` }))
      if (answer.ContentLength !== to - from + 1) fault(`${key}: ${answer.ContentLength} bytes instead of ${to - from + 1}`)
      return answer.Body
    },
  }
}

function folder(top) {
  const path = key => join(top, key.at(-2), key.at(-1), key)
  return {
    async list() {
      const objects = []
      for (const high of readdirSync(top).filter(name => /^[0-9a-f]$/.test(name)))
        for (const low of readdirSync(join(top, high)))
          for (const key of readdirSync(join(top, high, low))) objects.push({ key, size: statSync(path(key)).size })
      return objects
    },
    read: async (key, from, to) => createReadStream(path(key), { start: from, end: to }),
  }
}

async function bytesOf(stream) {
  const pieces = []
  for await (const piece of stream) pieces.push(piece)
  return Buffer.concat(pieces)
}

const headBytes = 8, entryBytes = 48, footerBytes = 56

// The index of a pack, or nothing and a fault.
async function indexOf(from, { key, size }) {
  const bad = text => void fault(`${key}: ${text}`)
  if (size < headBytes + footerBytes) return bad('it is too short for a pack')
  const footer = await bytesOf(await from.read(key, size - footerBytes, size - 1))
  const at = number(footer, 0), count = number(footer, 8)
  if (footer.subarray(48).toString('latin1') !== 'davitpx1') return bad('it ends with something else than a pack')
  if (at + count * entryBytes + footerBytes !== size) return bad('its index is not where it should be')
  const bytes = count ? await bytesOf(await from.read(key, at, at + count * entryBytes - 1)) : Buffer.alloc(0)
  if (sha256(bytes) !== footer.subarray(16, 48).toString('hex')) return bad('its index has another digest')
  const entries = []
  let expected = headBytes
  for (let i = 0; i < bytes.length; i += entryBytes) {
    const one = { name: bytes.subarray(i, i + 32).toString('hex'), offset: number(bytes, i + 32), size: number(bytes, i + 40) }
    if (one.offset !== expected) return bad('its blobs do not lie side by side')
    expected += one.size
    entries.push(one)
  }
  return expected === at ? { at, entries } : bad('its index does not follow its blobs')
}

const second = 1000000000n
const mark = Buffer.from('davit tree 1\n')

// Reads a pack from its beginning to its end and checks each blob by its digest; the manifests among them are kept.
async function checkPack(from, object, blobs, manifests) {
  const index = await indexOf(from, object)
  if (!index) return 0
  const rest = index.entries.map(one => ({ ...one, left: one.size, hash: createHash('sha256'), pieces: [] }))
  let at = 0, head = Buffer.alloc(0), next = 0
  const end = one => {
    if (one.hash.digest('hex') !== one.name) fault(`${object.key}: the blob ${one.name} has another digest`)
    blobs.set(one.name, one.size)
    if (one.pieces.length) manifests.set(one.name, Buffer.concat(one.pieces))
  }
  for await (const chunk of await from.read(object.key, 0, object.size - 1)) {
    let piece = chunk
    at += piece.length
    const missing = Math.min(headBytes - head.length, piece.length)
    head = Buffer.concat([head, piece.subarray(0, missing)])
    piece = piece.subarray(missing)
    while (next < rest.length && (piece.length || rest[next].left === 0)) {
      const one = rest[next], part = piece.subarray(0, one.left)
      one.hash.update(part)
      // A manifest can begin in one piece of the stream and end in another.
      one.begin = Buffer.concat([one.begin ?? Buffer.alloc(0), part.subarray(0, mark.length)]).subarray(0, mark.length)
      if (one.size <= 64 << 20 && mark.subarray(0, one.begin.length).equals(one.begin)) one.pieces.push(part)
      else one.pieces = []
      one.left -= part.length
      piece = piece.subarray(part.length)
      if (one.left === 0) {
        if (one.size < mark.length) one.pieces = []
        end(one)
        ++next
      }
    }
  }
  for (; next < rest.length && rest[next].left === 0; ++next) end({ ...rest[next], pieces: [] })
  if (next !== rest.length || at !== object.size) fault(`${object.key}: it is cut off`)
  if (head.toString('latin1') !== 'davitpk1') fault(`${object.key}: it begins with something else than a pack`)
  return rest.length
}

// A manifest as lines like those of tree.py, in its own order.
function readManifest(bytes) {
  let at = mark.length
  const take = size => bytes.subarray(at, (at += size))
  const take64 = () => { at += 8; return number(bytes, at - 8) }
  const take32 = () => { at += 4; return bytes.readUInt32LE(at - 4) }
  const entries = []
  for (let count = take64(); count > 0; --count) {
    const kind = ['', 'file', 'folder', 'symlink', 'hard link'][take(1)[0]]
    const mode = take(2).readUInt16LE()
    const seconds = take(8).readBigInt64LE(), nanoseconds = take32()
    const one = { kind, mode, time: String(seconds * second + BigInt(nanoseconds)), path: take(take32()).toString('hex') }
    if (kind === 'file') {
      one.size = take64()
      one.sha256 = take(32).toString('hex')
      one.holes = Array.from({ length: take32() }, () => [take64(), take64()])
    } else if (kind !== 'folder') {
      one.target = take(take32()).toString('hex')
    }
    if (!kind) throw new Error('an entry is of an unknown kind')
    entries.push(one)
  }
  if (at !== bytes.length) throw new Error('something follows its last entry')
  return entries
}

// Paths are ordered by their bytes, with the slash before all others.
const rank = path => path.replace(/../g, byte => (byte === '2f' ? '00' : byte))
const before = (a, b) => (rank(a) < rank(b) ? -1 : 1)

// What the manifest of the listed tree should be.
function expected(listed, stage) {
  const firsts = new Map()
  return listed.filter(one => one.kind !== 'special').sort((a, b) => before(a.path, b.path)).map(({ group, ...one }) => {
    if (group && firsts.has(group)) return { kind: 'hard link', mode: 0, time: '0', path: one.path, target: firsts.get(group) }
    if (group) firsts.set(group, one.path)
    if (one.kind !== 'symlink') one.mode &= 0o1777
    if (stage === 'sent') return one
    let time = BigInt(one.time)
    if (time < 0n && (one.kind !== 'symlink' || process.env.OLD_LINKS !== '1')) time = 0n
    time -= ((time % second) + second) % second
    return { ...one, time: String(time), ...(one.holes && { holes: [] }) }
  })
}

const spelled = one => JSON.stringify(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1)))

function differences(found, wanted) {
  const all = []
  if (found.length !== wanted.length) all.push(`${found.length} entries instead of ${wanted.length}`)
  for (let i = 0; i < Math.min(found.length, wanted.length); ++i)
    if (spelled(found[i]) !== spelled(wanted[i])) all.push(`${Buffer.from(wanted[i].path, 'hex')}: ${spelled(found[i])} instead of ${spelled(wanted[i])}`.slice(0, 1500))
  return all
}

async function check(place, listing, stages) {
  const slash = place.indexOf('/')
  const from = slash === 0 ? folder(place) : bucket(place.slice(0, slash), place.slice(slash + 1))
  const blobs = new Map(), manifests = new Map()
  const objects = await from.list()
  let count = 0, size = 0
  for (const object of objects) {
    if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(object.key)) fault(`${object.key}: it is not the key of an object`)
    else count += await checkPack(from, object, blobs, manifests)
    size += object.size
  }
  const trees = []
  for (const [name, bytes] of manifests) {
    try {
      trees.push(readManifest(bytes))
    } catch (error) {
      fault(`the manifest ${name}: ${error.message}`)
      continue
    }
    for (const one of trees.at(-1).filter(each => each.kind === 'file'))
      if (blobs.get(one.sha256) !== one.size) fault(`the manifest ${name}: ${Buffer.from(one.path, 'hex')} is in no pack, or of another size`)
  }
  const listed = readFileSync(listing, 'utf8').trim().split('\n').map(line => JSON.parse(line))
  for (const stage of stages) {
    const wanted = expected(listed.map(one => ({ ...one })), stage)
    const tried = trees.map(tree => differences(tree, wanted)).sort((a, b) => a.length - b.length)
    if (!tried.length) fault(`there is no manifest that could be the ${stage} tree`)
    else if (tried[0].length) fault(`no manifest is the ${stage} tree. The closest has ${tried[0].length} differences:\n    ${tried[0].slice(0, 5).join('\n    ')}`)
  }
  console.log(`${objects.length} ${count} ${size} ${trees.length}`)
}

const [command, place, listing, ...stages] = process.argv.slice(2)
if (command === 'create') await bucket(place).create()
else await check(place, listing, stages)
for (const text of faults.slice(0, 20)) console.error(text)
if (faults.length) console.error(`${faults.length} faults in the objects of ${place}`)
process.exitCode = faults.length ? 1 : 0
