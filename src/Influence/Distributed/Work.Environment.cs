using System.Globalization;
using Influence.Formats;

namespace Influence.Distributed;

public sealed partial record Work
{
    private const string ExplicitRank = "RANK";
    private const string WorldSize = "WORLD_SIZE";
    private const string ArrayTask = "SLURM_ARRAY_TASK_ID";
    private const string ArrayCount = "SLURM_ARRAY_TASK_COUNT";
    private const string ArrayFirst = "SLURM_ARRAY_TASK_MIN";
    private const string ArrayStep = "SLURM_ARRAY_TASK_STEP";
    private const string SlurmRank = "SLURM_PROCID";
    private const string SlurmCount = "SLURM_STEP_NUM_TASKS";
    private const string SlurmStep = "SLURM_STEP_ID";
    private const string IndexedJob = "JOB_COMPLETION_INDEX";

    /// <summary>
    /// This process's place as its starter says it, the first of these that is there: RANK and WORLD_SIZE; a Slurm array's
    /// SLURM_ARRAY_TASK_ID among SLURM_ARRAY_TASK_COUNT, times the tasks of <c>srun</c> where each array task starts several; <c>srun</c>'s
    /// SLURM_PROCID among SLURM_STEP_NUM_TASKS; the JOB_COMPLETION_INDEX of a Kubernetes indexed job, whose manifest says WORLD_SIZE, since
    /// Kubernetes does not. Where there is nothing of the kind it is one process that shares the folder with any others.
    /// <see cref="LocalRank"/> is LOCAL_RANK or SLURM_LOCALID.
    /// </summary>
    /// <param name="folder">The shared folder.</param>
    /// <returns>The work.</returns>
    /// <exception cref="InfluenceException">A variable is no whole number, one is missing beside another, or a rank is not below the number
    /// of processes; it is named.</exception>
    public static Work FromEnvironment(string folder) => FromEnvironment(folder, Environment.GetEnvironmentVariable);

    /// <summary>The same from variables that are looked up elsewhere.</summary>
    internal static Work FromEnvironment(string folder, Func<string, string?> variable)
    {
        var work = new Work(folder) { LocalRank = Number("LOCAL_RANK") ?? Number("SLURM_LOCALID") ?? 0 };
        if (Number(ExplicitRank) is { } rank)
        {
            return At(rank, Needed(WorldSize, $"{ExplicitRank} is set: set it to the number of processes"), ExplicitRank, WorldSize);
        }

        if (Number(ArrayTask) is { } task)
        {
            var (count, first, step) = (
                Needed(ArrayCount, "Slurm sets it for an array"),
                Number(ArrayFirst) ?? 0,
                Math.Max(1, Number(ArrayStep) ?? 1)
            );
            var index = (task - first) / step;
            if (index < 0 || index >= count || (task - first) % step != 0)
            {
                throw new InfluenceException(
                    $"{ArrayTask} = {task} is not one of {count} tasks that follow each other from {first} on in steps of {step}, as "
                        + $"ranks do. Start the array as --array=0-{count - 1}."
                );
            }

            var (inner, inside) = Step();
            return At((index * inside) + inner, count * inside, ArrayTask, ArrayCount);
        }

        if (Step() is (var process, > 1 and var processes))
        {
            return At(process, processes, SlurmRank, SlurmCount);
        }

        return Number(IndexedJob) is { } completion
            ? At(
                completion,
                Needed(
                    WorldSize,
                    $"{IndexedJob} is set, and Kubernetes does not say how many there are: write it into the "
                        + "manifest's env, as large as spec.completions"
                ),
                IndexedJob,
                WorldSize
            )
            : work;

        // A batch script's own variables speak of tasks that nobody started: only those of a step count.
        (int Rank, int Count) Step() =>
            variable(SlurmStep) is { Length: > 0 } && Number(SlurmCount) is { } tasks ? (Needed(SlurmRank, "srun sets it"), tasks) : (0, 1);

        Work At(int rank, int count, string rankName, string countName) =>
            rank >= 0 && rank < count
                ? work with
                {
                    Rank = rank,
                    Count = count,
                }
                : throw new InfluenceException(
                    $"{rankName} gives the rank {rank} and {countName} {count} processes: ranks are 0 to "
                        + $"{count - 1}. Start each process with a rank of its own, below the number of processes."
                );

        int Needed(string name, string why) =>
            Number(name) ?? throw new InfluenceException($"The environment variable {name} is missing ({why}).");

        int? Number(string name) =>
            variable(name) is not { Length: > 0 } text ? null
            : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number
            : throw new InfluenceException($"The environment variable {name} is \"{PlainText.Name(text)}\"; expected a whole number.");
    }
}
