#!/bin/bash
# Trains on 2 nodes of 4 GPUs, one process a GPU, and comes back after preemption and time limits.
#
#   sbatch launch/slurm.sh
#
# Prepare the records first, on one node: the same options with --mode=prepare
# --config.data.prepare_workers=32. Set partition and account as your site wants them. To end the
# job for good: scontrol update JobId=ID Requeue=0, then scancel ID.
#SBATCH --job-name=brainjax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=8G
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=TERM@300
set -uo pipefail

# SIGTERM, sent to the tasks 300 s before the time is up and on preemption, makes them save and
# exit with 143. This shell only has to outlive them; a trap, unlike ignoring, is not inherited.
trap 'echo "asked to stop: waiting for the training to save"' TERM

# JAX reads number, rank and address of the processes, and each one's GPU, from Slurm's
# variables. --kill-on-bad-exit: when one process is lost the others do not wait for it.
srun --kill-on-bad-exit=1 python -m brainjax.main \
  --config=configs/cga.py:paper \
  --workdir=runs/paper \
  --config.data.root=MICCAI_BraTS_2019_Data_Training \
  --config.batches.batch_size=8
code=$?

if ((code == 143)); then
  scontrol requeue "$SLURM_JOB_ID" # the same command goes on after the last checkpoint
fi
exit "$code"
