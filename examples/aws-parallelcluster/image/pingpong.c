/* How long a message takes between the first and the last rank, and how much goes through: tells a fast network from
 * TCP. Prints one line for each size.
 *
 * Exit codes: 0, or 2 with fewer than two ranks. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST = 1 << 23, WARM = 10, TIMES = 100 };

int main(int argc, char **argv)
{
    int rank, size, length;
    char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    char host[MPI_MAX_PROCESSOR_NAME] = "", other[MPI_MAX_PROCESSOR_NAME] = "";

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    if (size < 2) {
        fprintf(stderr, "pingpong: two ranks are needed, there is %d\n", size);
        MPI_Finalize();
        return 2;
    }
    const int last = size - 1;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, "\n,")] = '\0';
    MPI_Get_processor_name(host, &length);
    if (rank == last)
        MPI_Send(host, sizeof host, MPI_CHAR, 0, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        MPI_Recv(other, sizeof other, MPI_CHAR, last, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        printf("%s, %d ranks, %s and %s\n%10s %12s %12s\n", library, size, host, other, "bytes", "us", "MB/s");
    }
    char *buffer = calloc(LARGEST, 1);
    if (buffer == NULL)
        MPI_Abort(MPI_COMM_WORLD, 1);
    for (int bytes = 8; bytes <= LARGEST; bytes *= 32) {
        double begin = 0;
        for (int i = -WARM; i < TIMES; i++) {
            if (i == 0)
                begin = MPI_Wtime();
            if (rank == 0) {
                MPI_Send(buffer, bytes, MPI_CHAR, last, 1, MPI_COMM_WORLD);
                MPI_Recv(buffer, bytes, MPI_CHAR, last, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
            } else if (rank == last) {
                MPI_Recv(buffer, bytes, MPI_CHAR, 0, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
                MPI_Send(buffer, bytes, MPI_CHAR, 0, 1, MPI_COMM_WORLD);
            }
        }
        const double one = (MPI_Wtime() - begin) / (2.0 * TIMES);
        if (rank == 0)
            printf("%10d %12.2f %12.1f\n", bytes, one * 1e6, bytes / one / 1e6);
    }
    free(buffer);
    MPI_Finalize();
    return 0;
}
