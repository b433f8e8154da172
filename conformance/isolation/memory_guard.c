/* An allocator whose blocks lie against pages without access.

   It is preloaded (LD_PRELOAD) into the process that runs the backend, and does nothing until
   `guard_start`. While the mode is not OFF, a block has pages of its own between two pages without
   access. Its end touches the page behind (BEHIND), or its start touches the page before (BEFORE).
   A read or write beyond that side ends the process. The bytes that remain on the other side hold
   a mark, and a changed mark ends the process, too. Freed blocks have no access until the arena
   has been used up, so a use after free ends the process as well. It needs glibc.

   Which blocks: those of posix_memalign, from which torch takes all tensors, and those of MIN_SIZE
   bytes of the other functions. With OPERANDS, blocks of posix_memalign end exactly at the page
   behind, as a tensor made of foreign memory may. Without, a block keeps the alignment that was
   requested, since oneDNN relies on that, and the gap up to the page holds the mark. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { OFF, BEHIND, BEFORE, OPERANDS = 4 };

/* Address space only: 16 GiB of it hold 2 million small blocks before a place is used again. */
#define ARENA ((size_t)16 << 30)
/* A block costs two of the 65,530 mappings that Linux allows a process (vm.max_map_count): half of
   them are for blocks, the others for the libraries and for what they map. */
#define MAX_BLOCKS 16384
/* Smaller blocks of malloc are mostly objects of libraries: too many for MAX_BLOCKS. NumPy keeps
   arrays below this size for reuse, so the guard would not see their end. */
#define MIN_SIZE 1024
#define MARK 0xA7

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

struct block {
  char *start;           /* of the caller's bytes; NULL = the entry is free */
  size_t size, page, pages; /* the first page of the block in the arena, and how many it has */
  unsigned epoch;
  uint16_t newer, older; /* 1 + the next block and the previous one by age; 0 = there is none */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct block blocks[MAX_BLOCKS];
static uint16_t unused[MAX_BLOCKS];
static uint16_t *owner; /* for each page of the arena, 1 + the block that it belongs to; 0 = none */
static uint16_t newest;
static unsigned epoch;
static size_t unused_count, cursor = 1, page_size, page_count, guarded_count, passed_count;
static char *arena, *message;
static uintptr_t exempt_begin, exempt_end;
static volatile int mode = OFF;
static unsigned char fill;
static struct sigaction next_action;

static int is_ours(const void *p) {
  return arena && (char *)p >= arena && (char *)p < arena + ARENA;
}

/* Write to stderr, and to the memory that copies of the process share with it. */
static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  int start = snprintf(message, 200, "memory guard: ");
  int length = start + vsnprintf(message + start, 200 - start, format, arguments);
  va_end(arguments);
  if (write(2, message, length) < 0) return;
}

static void report(const char *what, size_t distance, const char *where, size_t size) {
  say("%s at byte %zu %s a block of %zu bytes\n", what, distance, where, size);
}

static void check_marks(const struct block *b) {
  unsigned char *begin = (unsigned char *)arena + b->page * page_size;
  unsigned char *end = begin + (b->pages - 1) * page_size, *start = (unsigned char *)b->start;
  for (unsigned char *p = start; p-- > begin;)
    if (*p != MARK) report("a write", start - p, "before the start of", b->size), abort();
  for (unsigned char *p = start + b->size; p < end; p++)
    if (*p != MARK) report("a write", p - (start + b->size), "after the end of", b->size), abort();
}

/* Find the pages of a block in the arena, from the place after the last one; 0 = there are none. */
static size_t find_pages(size_t pages) {
  for (int round = 0; round < 2; round++, cursor = 1)
    for (size_t first = cursor, k = first; first + pages <= page_count;) {
      if (owner[k]) first = ++k;
      else if (++k == first + pages) return cursor = first + pages, first;
    }
  return 0;
}

static void *place(size_t size, size_t alignment, int is_operand, int zeroed) {
  if (size > ARENA / 8) return NULL;
  size_t pages = (size + page_size - 1) / page_size + 1; /* the last one is the page behind */
  pthread_mutex_lock(&lock);
  size_t first = unused_count ? find_pages(pages) : 0;
  char *begin = arena + first * page_size, *end = begin + (pages - 1) * page_size;
  if (!first || mprotect(begin, end - begin, PROT_READ | PROT_WRITE)) {
    passed_count++;
    pthread_mutex_unlock(&lock);
    return NULL;
  }
  size_t k = unused[--unused_count];
  for (size_t page = first; page < first + pages; page++) owner[page] = k + 1;
  char *start = begin;
  if (mode & BEHIND) start = (char *)((uintptr_t)(end - size) & ~(is_operand ? 0 : alignment - 1));
  blocks[k] = (struct block){start, size, first, pages, epoch, 0, newest};
  if (newest) blocks[newest - 1].newer = k + 1;
  newest = k + 1;
  guarded_count++;
  memset(begin, MARK, start - begin);
  memset(start + size, MARK, end - (start + size));
  pthread_mutex_unlock(&lock);
  if (!zeroed) memset(start, fill, size); /* new pages hold zeros */
  return start;
}

static struct block *block_of(const void *p) {
  uint16_t k = owner[((char *)p - arena) / page_size];
  if (!k || blocks[k - 1].start != p) say("free() of what is no block, or was freed\n"), abort();
  return &blocks[k - 1];
}

static void release(void *p) {
  pthread_mutex_lock(&lock);
  struct block *b = block_of(p);
  check_marks(b);
  /* A new mapping gives the memory back, and joins its neighbours: it is no mapping of its own. */
  mmap(arena + b->page * page_size, (b->pages - 1) * page_size, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  memset(owner + b->page, 0, b->pages * sizeof *owner);
  if (b->newer) blocks[b->newer - 1].older = b->older;
  else newest = b->older;
  if (b->older) blocks[b->older - 1].newer = b->newer;
  b->start = NULL;
  unused[unused_count++] = b - blocks;
  pthread_mutex_unlock(&lock);
}

/* Whether a block of malloc is guarded: not an object of the interpreter, whose code calls it. */
static int wants(size_t size, void *caller) {
  uintptr_t code = (uintptr_t)caller;
  return mode && size >= MIN_SIZE && (code < exempt_begin || code >= exempt_end);
}

void *malloc(size_t size) {
  void *p = wants(size, __builtin_return_address(0)) ? place(size, 16, 0, 0) : NULL;
  return p ? p : __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  size_t total;
  void *p = NULL;
  if (!__builtin_mul_overflow(count, size, &total) && wants(total, __builtin_return_address(0)))
    p = place(total, 16, 0, 1);
  return p ? p : __libc_calloc(count, size);
}

void free(void *p) {
  int error = errno;
  if (is_ours(p)) release(p);
  else __libc_free(p);
  errno = error;
}

void *realloc(void *old, size_t size) {
  if (!is_ours(old)) return __libc_realloc(old, size);
  size_t old_size = block_of(old)->size;
  void *p = size ? malloc(size) : NULL;
  if (p) memcpy(p, old, size < old_size ? size : old_size);
  if (p || !size) free(old);
  return p;
}

/* Blocks aligned to pages pass: they hold generated code, which becomes executable. */
static void *aligned(size_t alignment, size_t size, int is_operand, int is_wanted) {
  void *p = NULL;
  int is_power = alignment && !(alignment & (alignment - 1)); /* glibc rounds others up */
  if (mode && size && is_wanted && is_power && alignment < page_size)
    p = place(size, alignment < 16 ? 16 : alignment, is_operand, 0);
  return p ? p : __libc_memalign(alignment, size);
}

void *memalign(size_t alignment, size_t size) {
  return aligned(alignment, size, 0, size >= MIN_SIZE);
}

void *aligned_alloc(size_t alignment, size_t size) {
  return aligned(alignment, size, 0, size >= MIN_SIZE);
}

int posix_memalign(void **result, size_t alignment, size_t size) {
  if (!alignment || alignment % sizeof(void *) || alignment & (alignment - 1)) return EINVAL;
  int error = errno;
  void *p = aligned(alignment, size, mode & OPERANDS, 1);
  errno = error;
  if (!p) return ENOMEM;
  *result = p;
  return 0;
}

size_t malloc_usable_size(void *p) {
  static size_t (*next)(void *);
  if (is_ours(p)) return block_of(p)->size;
  if (!next) next = (size_t(*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
  return next(p);
}

/* Say which block was missed, then let the next handler (Python's) say where. */
static void on_fault(int number, siginfo_t *info, void *context) {
  char *p = info->si_addr;
  if (is_ours(p)) {
    size_t page = (p - arena) / page_size;
    uint16_t here = owner[page], next = page + 1 < page_count ? owner[page + 1] : 0;
    struct block *b = here ? &blocks[here - 1] : NULL, *n = next ? &blocks[next - 1] : NULL;
    char *end = b ? b->start + b->size : NULL;
    const char *what = "an access";
#ifdef __x86_64__
    what = ((ucontext_t *)context)->uc_mcontext.gregs[REG_ERR] & 2 ? "a write" : "a read";
#else
    (void)context;
#endif
    if (n && n != b && (!b || n->start - p < p - end))
      report(what, n->start - p, "before the start of", n->size);
    else if (b) report(what, p - end, "after the end of", b->size);
    else say("%s of memory that was freed, or far from any block\n", what);
  }
  sigaction(number, &next_action, NULL);
}

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

/* Take the signal of a forbidden access from the handler that has it now. */
void guard_watch(void) {
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGSEGV, &action, &next_action);
}

/* Reserve the arena; code in [begin, end) gets ordinary memory. Returns where messages are written,
   for this process and its copies to read; NULL if there is no address space. */
char *guard_start(int byte, uintptr_t begin, uintptr_t end) {
  int flags = MAP_ANONYMOUS | MAP_NORESERVE, access = PROT_READ | PROT_WRITE;
  page_size = sysconf(_SC_PAGESIZE), page_count = ARENA / page_size, fill = byte;
  exempt_begin = begin, exempt_end = end;
  void *space = mmap(NULL, ARENA, PROT_NONE, MAP_PRIVATE | flags, -1, 0);
  owner = mmap(NULL, page_count * sizeof *owner, access, MAP_PRIVATE | flags, -1, 0);
  message = mmap(NULL, page_size, access, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (space == MAP_FAILED || (void *)owner == MAP_FAILED || message == MAP_FAILED) return NULL;
  for (; unused_count < MAX_BLOCKS; unused_count++) unused[unused_count] = unused_count;
  if (pthread_atfork(before_fork, after_fork, after_fork)) return NULL;
  arena = space;
  guard_watch();
  return message;
}

/* Guard what is allocated from now on, and return the mode until now. Switching off checks the
   marks of the blocks since `guard_case`. */
int guard_mode(int wanted) {
  int previous = mode;
  mode = wanted;
  if (previous && !wanted) {
    pthread_mutex_lock(&lock);
    for (uint16_t k = newest; k && blocks[k - 1].epoch == epoch; k = blocks[k - 1].older)
      check_marks(&blocks[k - 1]);
    pthread_mutex_unlock(&lock);
  }
  return previous;
}

/* Begin a case: the blocks of earlier ones are checked only when they are freed. */
void guard_case(void) { epoch++; }

/* How many blocks were guarded, or how many got ordinary memory because there were too many. */
size_t guard_count(int passed) { return passed ? passed_count : guarded_count; }
