/* Feeds files to a fuzz target, one call each: replay FILE-OR-FOLDER…. With it the kept corpus runs without libFuzzer,
 * built by any compiler and under any sanitizer. Prints how many files ran; a target that finds a fault ends it. */
#include <dirent.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Larger than any file that is worth keeping. */
#define FILE_BYTES_MAX (4u << 20)

static unsigned replayed;

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *buffer = file ? malloc(FILE_BYTES_MAX) : NULL;
    if (!buffer) {
        perror(path);
        if (file)
            fclose(file);
        return 1;
    }
    size_t size = fread(buffer, 1, FILE_BYTES_MAX, file);
    fclose(file);
    /* A copy of exactly that size: a sanitizer sees a read behind its end. */
    uint8_t *input = malloc(size ? size : 1);
    if (!input) {
        perror(path);
        free(buffer);
        return 1;
    }
    memcpy(input, buffer, size);
    free(buffer);
    fprintf(stderr, "replaying %s\n", path); /* the last one of these lines tells where it ended */
    LLVMFuzzerTestOneInput(input, size);
    free(input);
    replayed++;
    return 0;
}

static int replay_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) {
        perror(path);
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.')
            failed |= replay_file(file);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode))
            failed |= replay_folder(argv[i]);
        else
            failed |= replay_file(argv[i]);
    }
    printf("%u\n", replayed);
    return failed;
}
