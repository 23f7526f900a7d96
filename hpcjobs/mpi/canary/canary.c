/* The canary: started by a job's own launcher and runtime in place of the user's program, it proves that the MPI ranks
 * found each other, with the very MPI library that the program will use.
 *
 * It has to run in any image (glibc or musl; without shell, compiler or Python), so it contains no libc, and the
 * only library that it needs is MPI. hpcjobs/mpi/canary/__init__.py writes into the built file what is known about
 * the user's program: which loader and which library it names, where it looks for it, and the family of its handles.
 *
 * Each rank writes one line with one write(2), and exits with 0 when all messages arrived as they were sent:
 *
 *   hpcjob-canary rank=0 size=4 host=n1 ok=1 lib=MPICH Version: 4.0.2
 *
 * ok=0: a message or a sum was wrong. ok=family: the library is of another family than the program was built for;
 * MPI was not started then (rank=0 size=0), for it would fail in ways that nobody understands.
 */

typedef unsigned long word;
/* A handle is an int in MPICH and a pointer in Open MPI and in the standard ABI. All of them are passed in one register,
 * and those of MPICH are positive, so this is right for each (System V ABI for x86-64 and for AArch64). */
typedef void *handle;

extern int MPI_Init(int *, char ***);
extern int MPI_Comm_rank(handle, int *);
extern int MPI_Comm_size(handle, int *);
extern int MPI_Barrier(handle);
extern int MPI_Allreduce(const void *, void *, int, handle, handle, handle);
extern int MPI_Sendrecv(const void *, int, handle, int, int, void *, int, handle, int, int, handle, void *);
extern int MPI_Finalize(void);

/* Weak: it is of MPI-3, and a library of 2012 may lack it. */
extern int MPI_Get_library_version(char *, int *) __attribute__((weak));
/* Weak: only Open MPI has them; its handles are their addresses (mpi.h, OMPI_PREDEFINED_GLOBAL). */
extern char ompi_mpi_comm_world[] __attribute__((weak));
extern char ompi_mpi_int[] __attribute__((weak));
extern char ompi_mpi_op_sum[] __attribute__((weak));
/* Weak: MPI brings its libc along. Under musl nobody else runs the constructors of the libraries. */
extern int __libc_start_main(int (*)(int, char **, char **), int, char **, void (*)(void), void (*)(void),
                             void (*)(void), void *) __attribute__((weak));

enum {
    COUNT = 65536, /* 256 KiB a message: long enough that each MPI takes its path for long messages. */
    VERSION_ROOM = 8192, /* MPI_MAX_LIBRARY_VERSION_STRING of MPICH and of the standard ABI; Open MPI has 256. */
    LIBRARY_ROOM = 100,
    PATIENCE = 20, /* Seconds for MPI_Finalize, in which MPICH 4.0 with UCX sometimes hangs. */
    MANNERS = 2, /* Seconds that a rank which found nobody stays. */
};

/* A slot: Python replaces the last character. a: see what is there, m: MPICH, o: Open MPI, s: the standard ABI.
 * Volatile, or the compiler would take the character that stands here for the one that is there. */
static const volatile char family_slot[] = "hpcjob-canary-family=a";

static struct {
    handle world, integer, sum;
} mpi;

static const long end_by_signal[4] = {0, 0, PATIENCE, 0}; /* setitimer(2), struct itimerval; SIGALRM ends a program */
static const long while_others_come[2] = {MANNERS, 0}; /* nanosleep(2), struct timespec */
static int sent[COUNT], received[COUNT];
static char version[VERSION_ROOM + 1];
static char line[1024];
static word used;
static struct {
    char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65];
} system_names; /* uname(2), struct utsname of Linux */

#if defined(__x86_64__)
enum { SYS_WRITE = 1, SYS_NANOSLEEP = 35, SYS_SETITIMER = 38, SYS_UNAME = 63, SYS_EXIT_GROUP = 231 };
/* At entry the stack begins with argc, and rdx has a function for the end (System V ABI x86-64, 3.4.1). */
__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov %rsp, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    and $-16, %rsp\n"
        "    call begin\n");

static long kernel(long number, long a, const void *b, word c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
enum { SYS_WRITE = 64, SYS_NANOSLEEP = 101, SYS_SETITIMER = 103, SYS_UNAME = 160, SYS_EXIT_GROUP = 94 };
/* As above; the function is in x0 (glibc, sysdeps/aarch64/start.S). */
__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    mov x30, #0\n"
        "    mov x1, x0\n"
        "    mov x0, sp\n"
        "    bl begin\n");

static long kernel(long number, long a, const void *b, word c) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register const void *x1 __asm__("x1") = b;
    register word x2 __asm__("x2") = c;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#else
#error "no canary for this CPU"
#endif

static void put(char one) {
    if (used < sizeof line - 1)
        line[used++] = one;
}

static void put_text(const char *text) {
    while (*text)
        put(*text++);
}

static void put_number(int number) {
    char digits[12];
    unsigned rest = (unsigned)number, n = 0;
    if (number < 0) {
        put('-');
        rest = 0u - rest;
    }
    do
        digits[n++] = (char)('0' + rest % 10);
    while (rest /= 10);
    while (n)
        put(digits[--n]);
}

/* The name of this computer: one word. */
static void put_host(void) {
    if (kernel(SYS_UNAME, (long)&system_names, 0, 0) < 0 || !system_names.nodename[0])
        put('?');
    for (const char *at = system_names.nodename; *at; at++)
        put(*at > ' ' && *at < 127 ? *at : '?');
}

/* The beginning of what the library says about itself: Open MPI has all in one line, with commas. */
static void put_library(void) {
    const word first = used;
    for (const char *at = version; *at && *at != '\n' && *at != ','; at++) {
        const int blank = *at <= ' ' || *at >= 127;
        if (used - first >= LIBRARY_ROOM)
            break;
        if (!blank)
            put(*at);
        else if (used > first && line[used - 1] != ' ')
            put(' ');
    }
    while (used > first && line[used - 1] == ' ')
        used--;
}

static void say(int rank, int size, const char *ok) {
    put_text("hpcjob-canary rank=");
    put_number(rank);
    put_text(" size=");
    put_number(size);
    put_text(" host=");
    put_host();
    put_text(" ok=");
    put_text(ok);
    put_text(" lib=");
    put_library();
    put('\n');
    kernel(SYS_WRITE, 1, line, used);
}

/* The handles of the program's family; whether the library can be of that family. */
static int choose_handles(void) {
    const int is_openmpi = ompi_mpi_comm_world && ompi_mpi_int && ompi_mpi_op_sum;
    char family = family_slot[sizeof family_slot - 2];
    if (family == 'a')
        family = is_openmpi ? 'o' : 'm';
    switch (family) {
    case 'o':
        mpi.world = ompi_mpi_comm_world;
        mpi.integer = ompi_mpi_int;
        mpi.sum = ompi_mpi_op_sum;
        return is_openmpi;
    case 's': /* MPI 5.0, chapter 20 and appendix A; Open MPI's own handles are there too and mean nothing. */
        mpi.world = (handle)0x101;
        mpi.integer = (handle)0x209;
        mpi.sum = (handle)0x21;
        return 1;
    default: /* mpi.h of MPICH since 1.0.x, and so of Intel MPI, Cray MPICH and MVAPICH */
        mpi.world = (handle)0x44000000;
        mpi.integer = (handle)0x4c000405;
        mpi.sum = (handle)0x58000003;
        return !is_openmpi;
    }
}

/* The sum over all ranks of what each of them knows of itself; the remainder keeps it in an int for 8 million ranks. */
static int sum_is_right(int rank, int size) {
    int mine = rank % 256 + 1, all = 0, expected = 0;
    for (int other = 0; other < size; other++)
        expected += other % 256 + 1;
    return !MPI_Allreduce(&mine, &all, 1, mpi.integer, mpi.sum, mpi.world) && all == expected;
}

/* A long message to the next rank, and one from the rank before. */
static int ring_is_right(int rank, int size) {
    word status[16]; /* MPI_Status has at most 32 bytes; MPI_STATUS_IGNORE is another value in each family. */
    const int next = (rank + 1) % size, before = (rank + size - 1) % size;
    for (int i = 0; i < COUNT; i++)
        sent[i] = rank ^ i;
    if (MPI_Sendrecv(sent, COUNT, mpi.integer, next, 1, received, COUNT, mpi.integer, before, 1, mpi.world, status))
        return 0;
    for (int i = 0; i < COUNT; i++)
        if (received[i] != (before ^ i))
            return 0;
    return 1;
}

static int canary(int argc, char **argv, char **envp) {
    int rank = -1, size = -1, length = 0, ok;
    (void)argc, (void)argv, (void)envp;
    if (MPI_Get_library_version) /* allowed before MPI_Init (MPI 3.1, 8.1.1) */
        MPI_Get_library_version(version, &length);
    if (!choose_handles()) {
        say(0, 0, "family");
        return 1;
    }
    if (MPI_Init(0, 0) || MPI_Comm_rank(mpi.world, &rank) || MPI_Comm_size(mpi.world, &size) || size < 1) {
        say(rank, size, "0");
        return 1;
    }
    ok = sum_is_right(rank, size) && ring_is_right(rank, size) && !MPI_Barrier(mpi.world);
    say(rank, size, ok ? "1" : "0");
    /* Of several ranks, so something is wrong. Others of the node may be on their way into the namespaces of this one
     * (apptainer --sharens, ch-run --join), which end with it: they are to report too. */
    if (size == 1)
        kernel(SYS_NANOSLEEP, (long)while_others_come, 0, 0);
    /* After the line: a library that fails at its end has still found its ranks. */
    kernel(SYS_SETITIMER, 0, end_by_signal, 0);
    return MPI_Finalize() || !ok;
}

__attribute__((used, noreturn, visibility("hidden"))) void begin(word *stack, void (*at_exit)(void)) {
    const int argc = (int)stack[0];
    char **argv = (char **)(stack + 1), **envp = argv + argc + 1;
    int code;
    if (__libc_start_main)
        code = __libc_start_main(canary, argc, argv, 0, 0, at_exit, stack);
    else
        code = canary(argc, argv, envp);
    for (;;)
        kernel(SYS_EXIT_GROUP, code, 0, 0);
}
