using PuppeteerSharp;
using Xunit;

namespace Influence.Reports.Tests;

/// <summary>A test that needs Chromium: where there is none it is skipped, and the run says so by name.</summary>
public sealed class ChromiumFactAttribute : FactAttribute
{
    public ChromiumFactAttribute()
    {
        if (Chromium.Path is null)
        {
            Skip = "THERE IS NO CHROMIUM: the report was not opened. Install Debian's package chromium, or name a browser in CHROMIUM.";
        }
    }
}

/// <summary>One headless browser for all tests of a class.</summary>
public sealed class Chromium : IAsyncLifetime
{
    public static string? Path { get; } =
        new[]
        {
            Environment.GetEnvironmentVariable("CHROMIUM"),
            "/usr/bin/chromium",
            "/usr/bin/chromium-browser",
            "/usr/bin/google-chrome",
        }.FirstOrDefault(File.Exists);

    private IBrowser? _browser;

    public async Task InitializeAsync()
    {
        if (Path is not null)
        {
            _browser = await Puppeteer.LaunchAsync(
                new LaunchOptions
                {
                    ExecutablePath = Path,
                    Args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
                    Timeout = 120_000,
                }
            );
        }
    }

    public async Task DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }
    }

    /// <summary>Opens a page from a file, 1280 x 900, and keeps what it complains of and what it asks of the network.</summary>
    internal async Task<OpenPage> OpenAsync(string html)
    {
        var file = System.IO.Path.Combine(System.IO.Path.GetTempPath(), $"report-{Guid.NewGuid():N}.html");
        await File.WriteAllTextAsync(file, html);
        var page = await _browser!.NewPageAsync();
        page.DefaultTimeout = 60_000;
        var opened = new OpenPage(page, file);
        await page.SetViewportAsync(new ViewPortOptions { Width = 1280, Height = 900 });
        await opened.CountThreadTime();
        await page.GoToAsync(new Uri(file).AbsoluteUri);
        return opened;
    }
}

/// <summary>A page in the browser.</summary>
internal sealed class OpenPage : IAsyncDisposable
{
    private readonly string _file;

    public OpenPage(IPage page, string file)
    {
        (Page, _file) = (page, file);
        page.Console += (_, e) => Complaints.Add($"{e.Message.Type}: {e.Message.Text}");
        page.PageError += (_, e) => Complaints.Add(e.Message);
        page.Request += (_, e) => Requests.Add(e.Request.Url);
    }

    public IPage Page { get; }

    public List<string> Complaints { get; } = [];

    public List<string> Requests { get; } = [];

    public Task<T> Ask<T>(string expression) => Page.EvaluateExpressionAsync<T>(expression);

    /// <summary>From now on the browser counts the time of its own thread, not the clock's.</summary>
    public async Task CountThreadTime()
    {
        await Page.Client.SendAsync("Performance.disable");
        await Page.Client.SendAsync("Performance.enable", new { timeDomain = "threadTicks" });
    }

    /// <summary>The seconds that the page's thread has worked.</summary>
    public async Task<double> ThreadSeconds() => (await Page.MetricsAsync())["TaskDuration"] is var seconds ? (double)seconds : double.NaN;

    /// <summary>Waits until an expression holds.</summary>
    public Task Until(string expression) => Page.WaitForExpressionAsync(expression);

    /// <summary>A picture of the whole page in the folder that the variable INFLUENCE_REPORT_SCREENSHOTS names, in light and in
    /// dark.</summary>
    public async Task Picture(string name)
    {
        if (Environment.GetEnvironmentVariable("INFLUENCE_REPORT_SCREENSHOTS") is not { Length: > 0 } folder)
        {
            return;
        }

        Directory.CreateDirectory(folder);
        File.Copy(_file, System.IO.Path.Combine(folder, $"{name}.html"), overwrite: true);
        foreach (var scheme in new[] { "light", "dark" })
        {
            await Page.EmulateMediaFeaturesAsync([
                new PuppeteerSharp.MediaFeatureValue { MediaFeature = PuppeteerSharp.MediaFeature.PrefersColorScheme, Value = scheme },
            ]);
            var height = await Ask<int>("document.documentElement.scrollHeight");
            for (var (top, part) = (0, 0); top < height; (top, part) = (top + 1600, part + 1))
            {
                await Page.ScreenshotAsync(
                    System.IO.Path.Combine(folder, $"{name}-{scheme}-{part}.png"),
                    new ScreenshotOptions
                    {
                        Clip = new PuppeteerSharp.Media.Clip
                        {
                            X = 0,
                            Y = top,
                            Width = 1280,
                            Height = Math.Min(1600, height - top),
                        },
                        CaptureBeyondViewport = true,
                    }
                );
            }
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Page.CloseAsync();
        File.Delete(_file);
    }
}
