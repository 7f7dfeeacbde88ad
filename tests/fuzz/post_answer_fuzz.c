/* What a collector answers. What is read of it lies within what came; one that was whole stays so, and means the same,
 * when more comes behind; and what its body says is text that ends. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/post_answer.h"
#include "require.h"
#include "runtime/tracing/otlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct post_answer *answer_of(const uint8_t *data, size_t size)
{
    struct post_answer *answer = malloc(sizeof *answer);
    REQUIRE(answer);
    memset(answer->text, 'x', sizeof answer->text);
    memcpy(answer->text, data, size);
    answer->length = size;
    return answer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char message[20];
    size = size < POST_ANSWER_BYTES ? size : POST_ANSWER_BYTES;
    struct post_answer *answer = answer_of(data, size), *longer = answer_of(data, size);
    longer->length = size < POST_ANSWER_BYTES ? size + 1 : size;
    bool whole = post_answer_whole(answer);
    REQUIRE(!whole || post_answer_whole(longer));
    post_answer_read(answer);
    post_answer_read(longer);
    REQUIRE(answer->body.data >= answer->text && answer->body.data + answer->body.length <= answer->text + size);
    if (whole) {
        REQUIRE(answer->body.length == longer->body.length && answer->retry_after_s == longer->retry_after_s);
        REQUIRE(memcmp(answer->body.data, longer->body.data, answer->body.length) == 0);
    }
    otlp_read_rejected(answer->body, message, sizeof message);
    REQUIRE(memchr(message, '\0', sizeof message));
    otlp_read_message(answer->body, message, sizeof message);
    REQUIRE(memchr(message, '\0', sizeof message));
    free(answer);
    free(longer);
    return 0;
}
