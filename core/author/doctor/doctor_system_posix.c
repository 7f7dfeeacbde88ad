#include "author/doctor/doctor.h"

void doctor_look_at_system_files(struct doctor *doctor)
{
    (void)doctor;
}

void doctor_look_at_kernel(struct doctor *doctor, const struct config *config)
{
    enum config_confine files = config ? config->confinement.files : CONFIG_CONFINE_OFF;
    enum config_confine calls = config ? config->confinement.system_calls : CONFIG_CONFINE_OFF;
    enum config_confine wanted = files > calls ? files : calls;
    doctor_find(doctor,
                wanted == CONFIG_CONFINE_REQUIRED ? FINDING_FAIL
                : wanted == CONFIG_CONFINE_AUTO   ? FINDING_WARN
                                                  : FINDING_OK,
                "kernel", wanted == CONFIG_CONFINE_OFF ? NULL : "confinement.* is for Linux: set both to \"off\"",
                "a build for any system with POSIX: nothing of the kernel is looked at, or confined");
}

void doctor_look_at_system_clock(struct doctor *doctor)
{
    (void)doctor;
}
