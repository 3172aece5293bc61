#!/bin/sh
#SBATCH --job-name=influence
#SBATCH --array=0-3
#SBATCH --cpus-per-task=1
#SBATCH --output=%x-%A-%a.log
# Four tasks that share a folder: sbatch job.sh PATH-OF-Cluster.dll --folder SHARED-FOLDER [options]
# Resubmit it, with as many tasks as you like, after any failure: it goes on where the units are.
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"
exec dotnet "$@"
