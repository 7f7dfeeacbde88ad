#include "client/screen/charset.h"

#include <langinfo.h>
#include <locale.h>
#include <string.h>
#include <wchar.h>

void charset_start(void)
{
    if (!setlocale(LC_CTYPE, "") || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

size_t charset_fit(struct slice text, size_t limit, size_t *columns)
{
    size_t at = 0;
    mbstate_t state = {0};
    *columns = 0;
    while (at < text.length) {
        wchar_t character;
        size_t bytes = mbrtowc(&character, text.data + at, text.length - at, &state);
        bool good = bytes != (size_t)-1 && bytes != (size_t)-2 && bytes != 0;
        if (!good)
            state = (mbstate_t){0};
        int width = good ? wcwidth(character) : 1;
        size_t more = width > 0 ? (size_t)width : 0;
        if (*columns + more > limit)
            break;
        *columns += more;
        at += good ? bytes : 1;
    }
    return at;
}
