#!/bin/sh
# What Slurm starts on each node of a job: the Python that follows, if it is there with what the job imports.
# If not, say so to the first node, in the run folder (launch/node/unfit.py), which leads from there.
# On the first node itself have the job start again, after two failures without this node. Needs no Python.
# Where the code that the run keeps is damaged, which no other node would change, the job ends.
#
#   start.sh RUN PYTHON ARGUMENT...
run=$1
shift
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID} # the id of an array's last element is the array's
job=${job:-$SLURM_JOB_ID}
needed='import importlib.util as u, os, sys, zipfile
missing = [name for name in ("submitit", "omegaconf", "pydantic") if u.find_spec(name) is None]
if missing:
    sys.exit("no module named " + ", ".join(missing))
code = sys.argv[1] + "/code.zip"
try:
    bad = zipfile.ZipFile(code).testzip() if os.path.exists(code) else None
except OSError:
    raise
except Exception as error:
    bad = error
if bad is not None:
    print(f"{code}: damaged ({bad}); submit it again with code=new, to go on with the present code, "
          "or with fresh=true, to begin anew")
    sys.exit(65)'
damaged=
if [ ! -x "$1" ]; then
    why="$1: not there, or not executable"
elif said=$("$1" -c "$needed" "$run" 2>&1); then
    # what the job shall do has this name already, unless nobody knew the job's id when it was submitted
    export DNW_SUBMISSION="${0%/*}"
    name=$DNW_SUBMISSION/${job}_submitted.pkl kept=${SLURM_ARRAY_TASK_ID:-0}.pkl
    [ -e "$name" ] || [ ! -e "$DNW_SUBMISSION/$kept" ] || ln -s "$kept" "$name" 2>/dev/null # another node was faster
    exec "$@"
else
    [ $? = 65 ] && damaged=1
    why=$(printf '%s\n' "$said" | tail -n 1)
    [ "$damaged" ] || why="$1: $why"
fi

most=4 # starts in a row, as launch/node/retry_policy.py has it
node=${SLURMD_NODENAME:-$(hostname)}
file=$run/unfit/$job-${SLURM_RESTART_COUNT:-0}-$SLURM_NODEID
echo "$node: $why" >&2
[ "$damaged" ] && node= # it is not to blame
mkdir -p "$run/unfit"
printf '%s\n%s\n' "$node" "$why" >"$file.new" && mv "$file.new" "$file"
if [ "$SLURM_NODEID" = 0 ]; then
    [ "$damaged" ] && exit 65
    if [ "$(ls "$run/unfit" | grep -c -e '-0$')" -ge $most ]; then
        echo "$most starts in a row had no first node: not started again" >&2
        exit 69
    fi
    trap '' TERM # which follows
    export SCONTROL_ALL=1 # its partition may be hidden
    tries=0
    until said=$(scontrol requeue "$job" 2>&1); do
        echo "$said" >&2
        tries=$((tries + 1))
        case $said in
            *"to contact"* | *"timed out"* | *onnect*) [ $tries -lt 90 ] || exit 69 ;; # no controller answers yet
            *) exit 69 ;;
        esac
        sleep 10
    done
    if [ "$(grep -lx -e "$node" "$run"/unfit/*-0 | wc -l)" -ge 2 ]; then
        kept=$(scontrol --oneliner show job "$job" | tr ' ' '\n' | sed -n 's/^ExcNodeList=//p' | grep -v null)
        out=${kept:+$kept,}$node
        all=$(scontrol --oneliner show partition "$SLURM_JOB_PARTITION" | tr ' ' '\n' | sed -n 's/^TotalNodes=//p')
        left=$((${all:-1000000} - $(scontrol show hostnames "$out" | wc -l)))
        if [ $left -ge "${SLURM_JOB_NUM_NODES:-1}" ]; then
            echo "$node failed twice: excluded from now on" >&2
            scontrol update "JobId=$job" "ExcNodeList=$out"
        else
            echo "$node failed twice; not excluded: too few nodes would be left" >&2
        fi
    fi
fi
exec sleep 900 # until Slurm ends this, or the first node has
