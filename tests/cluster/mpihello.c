/* Says who runs where, after proving that the ranks are one MPI job: a rank that was started without
 * the others (a "singleton") reports "rank 0 of 1", and the sum of all ranks would be wrong.
 *
 * Exit codes: 0, or 3 when the sum is wrong. */
#include <mpi.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int rank, size, length;
    long mine, sum = 0;
    char host[256] = "?";
    char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    gethostname(host, sizeof host - 1);

    /* MPICH answers with a page of build options; its first line, "MPICH Version:\t4.0.2", is enough. */
    MPI_Get_library_version(library, &length);
    library[strcspn(library, "\n,")] = '\0';
    for (char *c = library; *c != '\0'; c++)
        if (*c == '\t')
            *c = ' ';

    mine = rank + 1;
    MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    int wrong = sum != (long)size * (size + 1) / 2;

    printf("rank %d of %d on %s, %s, sum %ld%s\n", rank, size, host, library, sum, wrong ? " WRONG" : "");
    fflush(stdout);
    MPI_Finalize();
    return wrong ? 3 : 0;
}
