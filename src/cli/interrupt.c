/* Ctrl-C and SIGTERM. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/cli.h"

static volatile sig_atomic_t interrupts, last_signal;

static void on_interrupt(int signal_number)
{
    last_signal = signal_number;
    if (interrupts++)
        _exit(128 + signal_number);
}

void cli_catch_interrupt(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool cli_interrupted(void)
{
    return interrupts != 0;
}

bool cli_terminated(void)
{
    return last_signal == SIGTERM;
}
