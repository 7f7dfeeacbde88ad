/* `luaduct token`: makes, lists and revokes the named tokens of a file (runtime/identity/tokens/token_file.h). The file
 * is replaced as a whole, so that a bridge that reads it meanwhile sees the old one or the new one, and lines that are
 * none of ours stay as they are. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mbedtls/platform_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "author/commands.h"
#include "base/clock.h"
#include "base/random.h"
#include "client/arguments/options.h"
#include "protocol/registration.h"
#include "runtime/identity/tokens/token_file.h"

static const char help[] =
    "usage: luaduct token new NAME [OPTION]…\n"
    "       luaduct token list [--file F]\n"
    "       luaduct token revoke NAME [--file F]\n"
    "Edits a file of named tokens, which the bridge reads as auth.tokens. It keeps a hash of each: the token itself "
    "is\n"
    "printed once, by `new`. Afterwards have the bridge take the file up: luaduct reload, or SIGHUP.\n"
    "\n"
    "  --file F        the file; standard tokens.jsonl\n"
    "  --role R        a role of whoever has it: by the built-in rules `agent` may send, `reader` may see, `admin` "
    "all\n"
    "  --client-id P   a clientId that it may take, or a pattern such as worker-*\n"
    "  --agent-role R  a role that its agent may register as, or a pattern\n"
    "  --label L       a label that its agent may have, or a pattern\n"
    "  --expires WHEN  a time such as 2030-01-01T00:00:00Z, or from now on 90d, 12h, 30m; standard never\n"
    "  --messages-per-second N, --message-burst N, --bytes-per-second N, --connections N\n"
    "                  limits of its own\n"
    "\n"
    "--role, --client-id, --agent-role and --label may be given several times.\n"
    "Exit status: 0; 1 when the file cannot be read or written, or the name is taken or unknown; 2 wrong usage.\n";

#define EXIT_FAILED 1
#define SECRET_BYTES 32
#define TOKEN_PREFIX "ld_" /* by which scanners for secrets know one */
#define TOKEN_TEXT_BYTES (sizeof TOKEN_PREFIX + (SECRET_BYTES * 4 + 2) / 3)

struct arguments {
    const char *verb, *name, *file;
    struct token_entry entry;
};

static int fail(const char *format, const char *about, const char *why)
{
    fputs("luaduct token: ", stderr);
    fprintf(stderr, format, about, why);
    fputc('\n', stderr);
    return EXIT_FAILED;
}

/* --- Arguments --- */

/* An option that may be given several times. */
struct text_option {
    const char *name;
    struct slice *items;
    struct slice_list *list;
};

static int take_text(void *context, const char *command, const char *given)
{
    struct text_option *option = context;
    struct slice text = slice_from_string(given);
    if (option->list->count == IDENTITY_LIST_MAXIMUM || !identifier_valid(text))
        return usage_error(command, "--%s: expected at most %d texts of 1 to 256 bytes without control characters",
                           option->name, IDENTITY_LIST_MAXIMUM);
    option->items[option->list->count++] = text;
    option->list->items = option->items;
    return 0;
}

static int take_expires(void *context, const char *command, const char *text)
{
    int64_t *expires_ms = context;
    char *end;
    double number = strtod(text, &end);
    double unit_ms = strcmp(end, "d") == 0   ? 86400e3
                     : strcmp(end, "h") == 0 ? 3600e3
                     : strcmp(end, "m") == 0 ? 60e3
                                             : 0;
    if (end != text && unit_ms > 0 && number > 0 && number * unit_ms < 1e14) {
        *expires_ms = clock_wall_ms() + (int64_t)(number * unit_ms);
        return 0;
    }
    if (clock_parse_iso(slice_from_string(text), expires_ms) && *expires_ms > clock_wall_ms())
        return 0;
    return usage_error(
        command, "--expires: expected a time to come such as 2030-01-01T00:00:00Z, or 90d, 12h, 30m, got \"%s\"", text);
}

static int read_arguments(int argc, char **argv, struct arguments *arguments)
{
    struct token_entry *entry = &arguments->entry;
    struct identity_source *source = &entry->source;
    struct text_option roles = {"role", entry->roles, &source->roles};
    struct text_option client_ids = {"client-id", entry->client_ids, &source->client_ids};
    struct text_option agent_roles = {"agent-role", entry->agent_roles, &source->agent_roles};
    struct text_option labels = {"label", entry->labels, &source->labels};
    struct identity_limits *limits = &source->limits;
    const struct option_rule rules[] = {
        {"role", .take = take_text, .context = &roles},
        {"client-id", .take = take_text, .context = &client_ids},
        {"agent-role", .take = take_text, .context = &agent_roles},
        {"label", .take = take_text, .context = &labels},
        {"expires", .take = take_expires, .context = &source->expires_ms},
        {"messages-per-second", .whole = &limits->messages_per_second, .minimum = 1, .maximum = 1e9},
        {"message-burst", .whole = &limits->message_burst, .minimum = 1, .maximum = 1e9},
        {"bytes-per-second", .large = &limits->bytes_per_second, .minimum = 1, .maximum = 1e13},
        {"connections", .whole = &limits->connections, .minimum = 1, .maximum = 1e9},
        {"file", .text = &arguments->file},
        {0},
    };
    int code = options_read(argc, argv, rules, help);
    if (code != OPTIONS_READ)
        return code;
    bool about_new = source->roles.count || source->client_ids.count || source->agent_roles.count ||
                     source->labels.count || source->expires_ms || limits->messages_per_second ||
                     limits->message_burst || limits->bytes_per_second || limits->connections;
    arguments->verb = optind < argc ? argv[optind++] : "";
    bool lists = strcmp(arguments->verb, "list") == 0, makes = strcmp(arguments->verb, "new") == 0;
    if (!lists && !makes && strcmp(arguments->verb, "revoke") != 0)
        return usage_error("token", "expected new, list or revoke, got \"%s\"", arguments->verb);
    if (!lists)
        arguments->name = optind < argc ? argv[optind++] : "";
    if (optind < argc)
        return usage_error("token", "there is no place for %s", argv[optind]);
    if (!lists && !token_name_valid(slice_from_string(arguments->name)))
        return usage_error("token", "expected a NAME of 1 to 64 letters, digits and . _ - @ :, got \"%s\"",
                           arguments->name);
    if (!makes && about_new)
        return usage_error("token", "%s takes no option but --file", arguments->verb);
    return OPTIONS_READ;
}

/* --- The file --- */

/* The folder is locked meanwhile, so that two commands at the same time do not lose one of their changes. */
struct edit {
    char path[PATH_MAX], folder[PATH_MAX];
    int folder_fd;
    struct buffer text; /* as it was */
    bool exists;
};

static int begin_edit(const char *file, bool must_exist, struct edit *edit)
{
    *edit = (struct edit){.folder_fd = -1};
    if (!realpath(file, edit->path)) /* a link stays a link to the new file */
        snprintf(edit->path, sizeof edit->path, "%s", file);
    const char *slash = strrchr(edit->path, '/');
    snprintf(edit->folder, sizeof edit->folder, "%.*s", slash ? (int)(slash - edit->path + 1) : 1,
             slash ? edit->path : ".");
    edit->folder_fd = open(edit->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (edit->folder_fd < 0 || flock(edit->folder_fd, LOCK_EX) != 0)
        return fail("%s: %s", edit->folder, strerror(errno));
    edit->exists = access(edit->path, F_OK) == 0;
    char error[PATH_MAX + 256];
    if ((edit->exists || must_exist) && !token_file_read(edit->path, &edit->text, error, sizeof error))
        return fail("%s%s", error, "");
    return 0;
}

static void end_edit(struct edit *edit)
{
    buffer_free(&edit->text);
    if (edit->folder_fd >= 0)
        close(edit->folder_fd); /* and unlocks it */
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t wrote = write(fd, data, length);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return false;
        data += wrote;
        length -= (size_t)wrote;
    }
    return true;
}

/* Its owner stays who it was, for a bridge that runs as somebody else. */
static bool keep_owner(const struct edit *edit, int fd)
{
    struct stat before;
    return !edit->exists || stat(edit->path, &before) != 0 || fchown(fd, before.st_uid, before.st_gid) == 0;
}

static int replace(struct edit *edit, const struct buffer *text)
{
    char fresh[PATH_MAX + 16];
    snprintf(fresh, sizeof fresh, "%s.XXXXXX", edit->path);
    int fd = text->failed ? -1 : mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
    if (text->failed)
        errno = ENOMEM;
    if (fd < 0)
        return fail("%s: %s", edit->path, strerror(errno));
    bool good = keep_owner(edit, fd) && write_all(fd, text->data, text->length) && fsync(fd) == 0;
    int failure = errno;
    if (close(fd) != 0 && good) {
        failure = errno;
        good = false;
    }
    if (good && rename(fresh, edit->path) == 0)
        return fsync(edit->folder_fd) == 0 ? 0 : fail("%s: %s", edit->folder, strerror(errno));
    if (good)
        failure = errno;
    unlink(fresh);
    return fail("%s: %s", edit->path, strerror(failure));
}

/* Goes through the tokens. False: a line is wrong, and said so. */
struct walk {
    struct slice rest, line;
    struct token_entry entry;
    struct text_store texts;
    unsigned number;
    bool counts; /* the line holds a token */
    bool wrong;
};

static bool next_line(const struct edit *edit, struct walk *walk)
{
    char problem[ERROR_TEXT_BYTES], place[PATH_MAX + 16];
    text_store_reset(&walk->texts);
    if (walk->wrong || !token_file_next(&walk->rest, &walk->line))
        return false;
    walk->number++;
    walk->counts = token_line_counts(walk->line);
    if (!walk->counts || token_line_read(walk->line, &walk->texts, &walk->entry, problem))
        return true;
    walk->wrong = true;
    snprintf(place, sizeof place, "%s:%u", edit->path, walk->number);
    fail("%s: %s", place, problem);
    return false;
}

/* --- new --- */

/* 256 bits of the kernel's, in the alphabet of base64url. */
static bool make_token(char out[TOKEN_TEXT_BYTES])
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char secret[SECRET_BYTES];
    if (!random_kernel_bytes(secret, sizeof secret))
        return false;
    char *at = stpcpy(out, TOKEN_PREFIX);
    unsigned bits = 0, count = 0;
    for (size_t i = 0; i < sizeof secret; i++) {
        bits = bits << 8 | secret[i];
        for (count += 8; count >= 6; count -= 6)
            *at++ = alphabet[bits >> (count - 6) & 63];
    }
    if (count > 0)
        *at++ = alphabet[bits << (6 - count) & 63];
    *at = '\0';
    mbedtls_platform_zeroize(secret, sizeof secret);
    mbedtls_platform_zeroize(&bits, sizeof bits);
    return true;
}

static int add(struct edit *edit, struct arguments *arguments)
{
    static struct walk walk;
    struct identity_source *source = &arguments->entry.source;
    source->name = slice_from_string(arguments->name);
    walk.rest = slice_from(edit->text.data, edit->text.length);
    while (next_line(edit, &walk))
        if (walk.counts && slice_equal(walk.entry.source.name, source->name))
            return fail("%s: there is a token %s already: revoke it first, or take another name", edit->path,
                        arguments->name);
    if (walk.wrong)
        return EXIT_FAILED;
    char token[TOKEN_TEXT_BYTES];
    if (!make_token(token))
        return fail("%s: %s", "no random bytes from the kernel", strerror(errno));
    token_digest(slice_from_string(token), arguments->entry.digest);
    struct buffer text = {0};
    buffer_append(&text, edit->text.data, edit->text.length);
    if (text.length > 0 && text.data[text.length - 1] != '\n')
        buffer_append(&text, "\n", 1);
    token_line_write(&text, &arguments->entry);
    int code = replace(edit, &text);
    buffer_free(&text);
    if (code == 0) {
        puts(token);
        fprintf(stderr,
                "luaduct token: %s is in %s; the token is shown this once. `luaduct reload` has a bridge take "
                "it up.\n",
                arguments->name, edit->path);
        if (source->roles.count == 0 && source->client_ids.count == 0)
            fputs("luaduct token: it has no --role and no --client-id: in enhanced mode it may do nothing\n", stderr);
    }
    mbedtls_platform_zeroize(token, sizeof token);
    text_store_free(&walk.texts);
    return code;
}

/* --- revoke --- */

static int remove_token(struct edit *edit, const char *name)
{
    static struct walk walk;
    struct buffer text = {0};
    bool found = false;
    walk.rest = slice_from(edit->text.data, edit->text.length);
    while (next_line(edit, &walk)) {
        if (walk.counts && slice_equal(walk.entry.source.name, slice_from_string(name))) {
            found = true;
            continue;
        }
        buffer_append_slice(&text, walk.line);
        buffer_append(&text, "\n", 1);
    }
    int code = walk.wrong ? EXIT_FAILED
               : !found   ? fail("%s: there is no token %s", edit->path, name)
                          : replace(edit, &text);
    if (code == 0)
        fprintf(stderr,
                "luaduct token: %s is revoked in %s. `luaduct reload` has a bridge take it up, and close who "
                "holds it.\n",
                name, edit->path);
    buffer_free(&text);
    text_store_free(&walk.texts);
    return code;
}

/* --- list --- */

static void print_list(const struct slice_list *list, int width)
{
    int written = 0;
    for (uint32_t i = 0; i < list->count; i++)
        written += printf("%s%.*s", i > 0 ? "," : "", (int)list->items[i].length, list->items[i].data);
    if (list->count == 0)
        written += printf("-");
    printf("%*s", written < width ? width - written : 1, "");
}

static int list(struct edit *edit)
{
    static struct walk walk;
    walk.rest = slice_from(edit->text.data, edit->text.length);
    printf("%-24s%-24s%-24s%s\n", "NAME", "ROLES", "CLIENT IDS", "EXPIRES");
    while (next_line(edit, &walk)) {
        const struct identity_source *source = &walk.entry.source;
        if (!walk.counts)
            continue;
        print_list(&(struct slice_list){&source->name, 1}, 24);
        print_list(&source->roles, 24);
        print_list(&source->client_ids, 24);
        char expires[CLOCK_ISO_LENGTH];
        clock_format_iso(source->expires_ms, expires);
        bool over = source->expires_ms != 0 && source->expires_ms <= clock_wall_ms();
        printf("%.*s%s\n", source->expires_ms ? CLOCK_ISO_LENGTH : 5, source->expires_ms ? expires : "never",
               over ? " (expired)" : "");
    }
    text_store_free(&walk.texts);
    return walk.wrong ? EXIT_FAILED : 0;
}

int command_token(int argc, char **argv)
{
    static struct arguments arguments = {.file = "tokens.jsonl"};
    arguments.entry.source.kind = IDENTITY_TOKEN;
    int code = read_arguments(argc, argv, &arguments);
    if (code != OPTIONS_READ)
        return code;
    struct edit edit;
    code = begin_edit(arguments.file, strcmp(arguments.verb, "new") != 0, &edit);
    if (code == 0)
        code = strcmp(arguments.verb, "new") == 0    ? add(&edit, &arguments)
               : strcmp(arguments.verb, "list") == 0 ? list(&edit)
                                                     : remove_token(&edit, arguments.name);
    end_edit(&edit);
    return code;
}
