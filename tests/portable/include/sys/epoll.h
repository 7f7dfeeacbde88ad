/* First among the folders of a portable build on Linux: who includes this uses what other systems do not have. */
#error "<sys/epoll.h> is for *_linux.c alone"
