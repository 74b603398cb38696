'use strict';

(async () => {
  const MAP_OPAQUE = 100;  // the level of 255 from which on a map hides the scan
  const element = name => document.getElementById(name);
  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const packed = name => element(name).textContent;
  const channels = text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16));
  const number = value => Number(value.toPrecision(4)).toString();

  const fail = text => {
    element('message').textContent = text;
    element('message').hidden = false;
    document.body.dataset.ready = 'no';
  };

  async function loadEngine() {
    const bytes = Uint8Array.from(atob(packed('niivue')), letter => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    document.head.append(make('script', {textContent: await new Response(stream).text()}));
    return window.niivue;
  }

  // One button of a group is pressed; the first is at the start.
  function choice(place, names, choose) {
    const buttons = names.map((name, index) => make('button', {
      type: 'button',
      textContent: name,
      onclick: () => {
        buttons.forEach((other, at) => other.setAttribute('aria-pressed', at === index));
        choose(index);
      },
    }));
    buttons.forEach((button, at) => button.setAttribute('aria-pressed', at === 0));
    element(place).append(...buttons);
  }

  function classLegend(classes) {
    return make('ul', {className: 'classes'}, ...classes.slice(1).map(({name, colour}) => {
      const swatch = make('i');
      swatch.style.background = colour;
      return make('li', {}, swatch, name);
    }));
  }

  function scaleLegend({limits, colours}) {
    const bar = make('div', {className: 'scale'});
    bar.style.background = `linear-gradient(to right, ${colours.join(',')})`;
    const ends = limits.map(value => make('span', {textContent: number(value)}));
    return make('div', {}, bar, make('div', {className: 'ends'}, ...ends));
  }

  // Labels without the voxels whose six neighbours are of the same class.
  function edges({hdr: {dims: [, width, height, depth]}, img: labels}) {
    const kept = new Uint8Array(labels.length);
    const plane = width * height;
    for (let z = 0, at = 0; z < depth; z++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++, at++) {
          const label = labels[at];
          if (label && ((x && labels[at - 1] !== label)
            || (x < width - 1 && labels[at + 1] !== label)
            || (y && labels[at - width] !== label)
            || (y < height - 1 && labels[at + width] !== label)
            || (z && labels[at - plane] !== label)
            || (z < depth - 1 && labels[at + plane] !== label))) kept[at] = label;
        }
      }
    }
    return kept;
  }

  // What a stored level means, in words.
  function meaning(volume, level) {
    if (volume.classes) return volume.classes[level]?.name ?? `class ${level}`;
    if (level === 0) return '–';
    const top = volume.clipped && level === 255 ? '≥ ' : '';
    return top + number(volume.offset + volume.scale * level);
  }

  async function start() {
    if (!document.createElement('canvas').getContext('webgl2')) {
      fail('This browser does not offer WebGL2, which the viewer draws with. Open the page in a '
        + 'current Firefox, Chrome, Edge or Safari, with hardware acceleration allowed.');
      return;
    }
    const {scans, overlays, focus} = JSON.parse(packed('case'));
    const niivue = await loadEngine();
    const viewer = new niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [1, 1, 1, 0.6],
      crosshairGap: 6,
      crosshairWidth: 0.4,
      dragAndDropEnabled: false,
      fontColor: [1, 1, 1, 1],
      isRadiologicalConvention: true,
      isResizeCanvas: true,
      loadingText: '',
      logLevel: 'error',
      multiplanarLayout: niivue.MULTIPLANAR_TYPE.GRID,
      multiplanarShowRender: niivue.SHOW_RENDER.ALWAYS,
      sagittalNoseLeft: true,
      show3Dcrosshair: true,
    });
    await viewer.attachToCanvas(element('canvas'));

    const load = (index, options) => niivue.NVImage.loadFromBase64({
      base64: packed(`volume-${index}`), name: `volume-${index}.nii.gz`, ...options,
    });
    const images = await Promise.all(scans.map((_, index) => load(index, {
      colormap: 'gray', cal_min: 0, cal_max: 255,
    })));

    async function loadLabels(index, {classes}) {
      const image = await load(index, {});
      const colours = classes.map(({colour}) => channels(colour));
      image.setColormapLabel({
        R: colours.map(([red]) => red),
        G: colours.map(([, green]) => green),
        B: colours.map(([, , blue]) => blue),
        A: colours.map((_, level) => (level ? 255 : 0)),
        I: colours.map((_, level) => level),
        labels: classes.map(({name}) => name),
      });
      return image;
    }

    // Low values of a map let the scan through.
    async function loadMap(index, {colours}) {
      const name = `map-${index}`, points = colours.map(channels);
      const steps = points.map((_, at) => Math.round(255 * at / (points.length - 1)));
      viewer.addColormap(name, {
        R: points.map(([red]) => red),
        G: points.map(([, green]) => green),
        B: points.map(([, , blue]) => blue),
        A: steps.map(step => (step ? 255 : 0)),
        I: steps,
      });
      const image = await load(index, {colormap: name, cal_min: MAP_OPAQUE, cal_max: 255});
      image.colormapType = 2;  // colours from 0 on, translucent below cal_min
      return image;
    }

    const layers = await Promise.all(overlays.map(async (overlay, index) => {
      const at = scans.length + index;
      if (!overlay.classes) return {whole: await loadMap(at, overlay)};
      const [whole, outline] = await Promise.all([loadLabels(at, overlay), loadLabels(at, overlay)]);
      outline.img = edges(whole);
      return {whole, outline};
    }));

    let shown = 0;
    const readout = element('values');
    viewer.onLocationChange = ({mm, values: [{value, vox}]}) => {
      const place = Array.from(mm).slice(0, 3).map(at => at.toFixed(1)).join(', ');
      const rows = [['x, y, z (mm)', place], [scans[shown].name, meaning(scans[shown], value)]];
      overlays.forEach((overlay, index) => {
        rows.push([overlay.name, meaning(overlay, layers[index].whole.getValue(...vox))]);
      });
      readout.replaceChildren(...rows.map(([name, text]) => make('tr', {},
        make('th', {scope: 'row', textContent: name}), make('td', {textContent: text}))));
    };

    const legends = new Set();  // overlays that look alike share one
    overlays.forEach((overlay, index) => {
      const legend = overlay.classes ? classLegend(overlay.classes) : scaleLegend(overlay);
      if (!legends.has(legend.outerHTML)) element('overlays').append(legend);
      legends.add(legend.outerHTML);
      const visible = make('input', {type: 'checkbox', checked: overlay.shown});
      const outline = make('input', {type: 'checkbox', checked: overlay.outlined === true});
      const opacity = make('input', {
        type: 'range', min: 0, max: 1, step: 0.05, ariaLabel: `opacity of ${overlay.name}`,
        value: overlay.outlined ? 1 : overlay.classes ? 0.5 : 0.8,
      });
      const row = make('div', {className: 'row'}, make('label', {}, visible, overlay.name));
      if (overlay.classes) row.append(make('label', {className: 'outline'}, outline, 'outline'));
      element('overlays').append(make('div', {className: 'overlay'}, row, opacity));
      layers[index].drawn = () => {
        const image = outline.checked ? layers[index].outline : layers[index].whole;
        image.opacity = visible.checked ? Number(opacity.value) : 0;
        return image;
      };
      for (const input of [visible, outline, opacity]) input.oninput = draw;
    });

    function draw() {
      viewer.volumes = [images[shown], ...layers.map(layer => layer.drawn())];
      viewer.setVolume(images[shown], 0);
    }
    element('overlay-panel').hidden = !overlays.length;

    const views = [
      ['All', 'MULTIPLANAR'], ['Axial', 'AXIAL'], ['Coronal', 'CORONAL'],
      ['Sagittal', 'SAGITTAL'], ['3D', 'RENDER'],
    ];
    choice('views', views.map(([name]) => name),
      index => viewer.setSliceType(niivue.SLICE_TYPE[views[index][1]]));
    choice('scans', scans.map(({name}) => name), index => {
      shown = index;
      draw();
      viewer.createOnLocationChange();
    });
    draw();
    if (focus) viewer.scene.crosshairPos = viewer.mm2frac(focus);
    viewer.setSliceType(niivue.SLICE_TYPE.MULTIPLANAR);
    viewer.createOnLocationChange();
    document.body.dataset.ready = 'yes';
  }

  try {
    await start();
  } catch (error) {
    fail(`The viewer could not start: ${error.message ?? error}`);
    throw error;
  }
})();
